"""Submodules that load on first use, and what is said of a name that does not exist."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable


class MissingNameError(AttributeError, NotImplementedError):
    """A name that PyTorch may have and dd2424 has not. The message says what to use `instead`, or names the nearest
    thing there is."""

    def __init__(self, owner: str, missing: str, known: Iterable[str], instead: str = "") -> None:
        super().__init__(missing)
        self._owner, self._missing, self._known, self._instead = owner, missing, known, instead

    def __str__(self) -> str:  # made when it is read: `hasattr` asks often and reads nothing
        if self._instead:
            return f"{self._owner}: '{self._missing}' is not implemented; {self._instead}"
        from difflib import get_close_matches

        public = [name for name in self._known if not name.startswith("_")]
        near = get_close_matches(self._missing, public, n=1, cutoff=0.0)
        hint = f"; the nearest name is '{self._owner}.{near[0]}'" if near else ""
        return f"{self._owner}: '{self._missing}' is not implemented{hint}"


def lazy_getattr(owner: str, submodules: Iterable[str] = ()) -> Callable[[str], object]:
    """The `__getattr__` of module `owner`: imports one of its submodules, or raises MissingNameError."""
    lazy = frozenset(submodules)

    def getattr_of_module(name: str) -> object:
        if name in lazy:
            return importlib.import_module(f"{owner}.{name}")
        if name.startswith("__"):
            raise AttributeError(f"module '{owner}' has no attribute '{name}'")
        raise MissingNameError(owner, name, {*vars(sys.modules[owner]), *lazy})

    return getattr_of_module
