"""Which data set a lab trains on, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dd2424 import data
from dd2424.data import ArrayDataset, DataError
from dd2424.labs.data import Source
from dd2424.train import UsageError, nearest


@dataclass(frozen=True)
class _Origin:
    """A data set: what it is, how a part of it is read, and whether it comes with the package."""

    summary: str
    read: Callable[..., ArrayDataset]
    is_bundled: bool = False

    def load(self, part: str, *, download: bool) -> ArrayDataset:
        return self.read(part) if self.is_bundled else self.read(part, download=download)


_ORIGINS = {
    "digits": _Origin("1,797 handwritten digits of 8 x 8 pixels, bundled", data.digits, is_bundled=True),
    "mnist": _Origin("70,000 handwritten digits of 28 x 28 pixels", data.mnist),
    "fashion-mnist": _Origin("70,000 articles of clothing of 28 x 28 pixels", data.fashion_mnist),
    "cifar10": _Origin("60,000 photographs of 3 x 32 x 32 pixels", data.cifar10),
}
_BUNDLED = "digits"
_LOADED: dict[str, Source] = {}


def choose_source(asked: str | None, real_data: str) -> tuple[str, str]:
    """The data set to take and a note that says why: the one asked for, else the lab's own, else the bundled one.

    Raises: UsageError naming the data sets there are.
    """
    if asked is not None:
        if asked not in _ORIGINS:
            raise UsageError(f"train: --data must be a known data set, got {asked!r}{nearest(asked, _ORIGINS)}")
        return asked, f"{asked} ({_ORIGINS[asked].summary})"
    try:
        load_source(real_data, download=False)
    except DataError as error:
        return _BUNDLED, (f"{_BUNDLED} ({_ORIGINS[_BUNDLED].summary}), because the lab's own is not here; "
                          f"--data {real_data} downloads it\n  ({_reason(error)})")  # fmt: skip
    return real_data, f"{real_data} ({_ORIGINS[real_data].summary}), the lab's own, in {data.data_dir()}"


def _reason(error: DataError) -> str:
    return str(error).split(". Put it there")[0]


def load_source(name: str, *, download: bool = True) -> Source:
    """The whole data set, read once. Raises: DataError where it is missing or damaged."""
    if name not in _LOADED:
        origin = _ORIGINS[name]
        train, test = (origin.load(part, download=download) for part in ("train", "test"))
        _LOADED[name] = Source(name, train, test)
    return _LOADED[name]


def describe_sources() -> str:
    """The data sets, one a line."""
    lines = [f"  --data {name:<14} {origin.summary}" for name, origin in _ORIGINS.items()]
    return "\n".join(["data sets, downloaded to DD2424_DATA (or the user's cache) when asked for:", *lines])
