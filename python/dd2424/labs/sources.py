"""Which data set a lab trains on, and where it comes from."""

from __future__ import annotations
