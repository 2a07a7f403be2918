"""Conditions that a user can mend: the command line prints each as one line, never as a traceback."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable


class RunError(Exception):
    """Something outside the program stopped a run: a full disk, a damaged file, a run that diverged."""

    exit_code = 1


class UsageError(RunError):
    """What was asked for does not exist or cannot be combined; nothing has been started or written."""

    exit_code = 2


class Interrupted(RunError):
    """The user stopped the run with a signal; a checkpoint has been written."""

    def __init__(self, exit_code: int = 130) -> None:
        super().__init__("interrupted")
        self.exit_code = exit_code


_HINTS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EACCES: "permission denied; choose a folder that you may write to",
    errno.EPERM: "permission denied; choose a folder that you may write to",
    errno.EROFS: "the file system is read-only; choose a folder elsewhere",
    errno.ENOENT: "there is no such file or folder",
    errno.ENOTDIR: "a part of this path is a file, not a folder",
    errno.EEXIST: "this is a file, not a folder",
    errno.EFBIG: "files may not become so large here (see ulimit -f)",
    errno.ENAMETOOLONG: "the name is too long",
}


def os_error_message(error: OSError, doing: str) -> str:
    """One line for an error of the operating system: what was being done, to which file, why it failed."""
    reason = _HINTS.get(error.errno or 0) or error.strerror or str(error)
    return f"{doing} {os.fspath(error.filename)}: {reason}" if error.filename else f"{doing}: {reason}"


def nearest(given: str, known: Iterable[str]) -> str:
    """How a message about an unknown name ends: the nearest known name, and all there are."""
    names = list(known)
    close = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    return (f"; did you mean {close[0]!r}?" if close else "") + f" (there are: {', '.join(names)})"
