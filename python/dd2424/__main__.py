"""`python -m dd2424` is the command `dd2424`."""

from __future__ import annotations

import sys

from dd2424.cli import main

sys.exit(main())
