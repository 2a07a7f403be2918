"""`python -m dd2424.check`: the same as `dd2424 check`."""

from __future__ import annotations

import sys

from dd2424.check import main

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
