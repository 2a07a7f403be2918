"""Downloads with checksums, through pooch (an optional dependency, in the extra `labs`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import DataError

_TIMEOUT_S = 20  # without an answer


@dataclass(frozen=True)
class Download:
    """A published file: its mirrors, its place in the data folder, and its checksum."""

    urls: tuple[str, ...]
    path: str
    sha256: str
    files: tuple[str, ...] = ()  # the data set's files it brings; empty: all


def fetch(downloads: Sequence[Download], root: Path) -> None:
    """Download files into `root`. Raises: DataError when pooch is missing or no mirror gives the right bytes."""
    try:
        import pooch
    except ImportError:
        raise DataError("downloading needs pooch (pip install 'dd2424[labs]')") from None
    for download in downloads:
        failures = []
        for url in download.urls:
            place = root / download.path
            try:
                pooch.retrieve(
                    url,
                    known_hash=f"sha256:{download.sha256}",
                    fname=place.name,
                    path=place.parent,
                    downloader=pooch.HTTPDownloader(timeout=_TIMEOUT_S),
                )
                break
            except (OSError, ValueError) as error:  # no connection, full disk | wrong checksum
                failures.append(f"{url}: {_first_line(error)}")
        else:
            raise DataError(f"the download failed ({'; '.join(failures)})")


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
