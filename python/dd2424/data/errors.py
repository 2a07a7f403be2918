"""The error of the data layer."""

from __future__ import annotations


class DataError(RuntimeError):
    """A data file is missing, cut short, altered or not what its name says; the message is written for the user."""
