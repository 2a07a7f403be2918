"""Where data files lie, what they must hold, and how they get there.

The data folder is the environment variable DD2424_DATA, or `data` in the user's cache folder. A data set is a handful
of files known by the size and SHA-256 of what they hold uncompressed, so any packing of the right bytes is accepted
and nothing else is.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .download import Download, fetch
from .errors import DataError
from .unpack import SUFFIXES, unpack, unpack_members


def user_cache_dir() -> Path:
    """Return the platform's folder for dd2424's caches."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "dd2424"


def data_dir() -> Path:
    """Return the folder that data sets are looked for in and downloaded to."""
    chosen = os.environ.get("DD2424_DATA")
    return Path(chosen).expanduser() if chosen else user_cache_dir() / "data"


@dataclass(frozen=True)
class Content:
    """What a file holds uncompressed."""

    size: int  # bytes
    sha256: str


@dataclass(frozen=True)
class Source:
    """One layout of a data set: its files, the folders they may lie in, and where to download them."""

    name: str
    folders: tuple[str, ...]  # in the data folder, in the order they are looked in; downloads name the first
    contents: Mapping[str, Content]  # by file name, without .gz or .xz
    downloads: tuple[Download, ...] = ()
    archive: str | None = None  # a .tar.gz in the data folder, or in the first folder, that holds the first folder

    def find(self, file: str) -> Path | None:
        """Return the path of a file, or of the archive that should hold it; None where there is neither."""
        root = data_dir()
        candidates = [root / folder / (file + suffix) for folder in self.folders for suffix in SUFFIXES]
        if self.archive:
            candidates += [root / self.archive, root / self.folders[0] / self.archive]
        return next((path for path in candidates if path.is_file()), None)

    def has(self, files: Iterable[str]) -> bool:
        """Tell whether every file is there, without reading any."""
        try:
            return all(self.find(file) for file in files)
        except (OSError, RuntimeError):
            return False

    def read(self, files: Sequence[str], *, download: bool = True) -> list[bytes]:
        """Return what the files hold, checked; what is missing is downloaded first if `download`.

        Raises: DataError, naming the file, what was expected and what was found.
        """
        if not self.has(files):
            self._obtain([file for file in files if not self.find(file)], download)
        paths = {file: self.find(file) for file in files}
        packed = {file: path for file, path in paths.items() if path and self.archive and path.name == self.archive}
        found: dict[str, bytes] = {}
        for path in set(packed.values()):
            found |= self._read_archive(path, [file for file in packed if packed[file] == path])
        single = {file: path for file, path in paths.items() if path and file not in packed}
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:  # decompression releases the GIL
            found |= zip(single, pool.map(self._read_file, single, single.values()), strict=True)
        return [found[file] for file in files]

    def _read_file(self, file: str, path: Path) -> bytes:
        expected = self.contents[file]
        kept = _kept_copy(path, expected) if path.suffix == ".xz" else None
        if kept and kept.is_file():
            with suppress(OSError):
                data = kept.read_bytes()
                if _digest(data) == expected.sha256:
                    return data
        try:
            data = unpack(path, expected.size)
        except DataError as error:
            raise DataError(f"{self.name}: {error}; replace the file") from None
        self._check(path, file, data)
        if kept:
            _keep(kept, data)
        return data

    def _read_archive(self, path: Path, files: Sequence[str]) -> dict[str, bytes]:
        members = {f"{self.folders[0]}/{file}": file for file in files}
        try:
            unpacked = unpack_members(path, members, max(self.contents[file].size for file in files))
        except DataError as error:
            raise DataError(f"{self.name}: {error}; replace the file") from None
        for member, data in unpacked.items():
            self._check(path, members[member], data)
        return {members[member]: data for member, data in unpacked.items()}

    def _check(self, path: Path, file: str, data: bytes) -> None:
        expected = self.contents[file]
        where = f"{self.name}: {file} in {path}" if path.name == self.archive else f"{self.name}: {path}"
        if len(data) != expected.size:
            given = f"more than {expected.size:,}" if len(data) > expected.size else f"{len(data):,}"
            raise DataError(f"{where} must hold {expected.size:,} bytes uncompressed, got {given}; replace the file")
        given = _digest(data)
        if given != expected.sha256:
            raise DataError(
                f"{where} must hold bytes of SHA-256 {expected.sha256}, got {given}: "
                "the content is not the published one; replace the file"
            )

    def _obtain(self, missing: Sequence[str], download: bool) -> None:
        reason = "and was told not to download"
        if download:
            try:
                return fetch([d for d in self.downloads if not d.files or set(d.files) & set(missing)], data_dir())
            except DataError as error:
                reason = f"and {error}"
        folder = data_dir() / self.folders[0]
        archive = f", or {self.archive} in {data_dir()}" if self.archive else ""
        urls = " ".join(d.urls[0] for d in self.downloads if not d.files or set(d.files) & set(missing))
        raise DataError(
            f"{self.name}: {', '.join(missing)} must be in {folder} (plain, .gz or .xz){archive}, "
            f"got no such file {reason}. Put it there (from {urls}), "
            f"or set DD2424_DATA to the folder that has {self.folders[0]}/"
        )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _kept_copy(path: Path, expected: Content) -> Path | None:
    """Return where the checked content of a slowly unpacked file is kept; a file that changes has another place."""
    stat = path.stat()
    name = f"{path.stem}-{expected.sha256[:16]}-{stat.st_size:x}-{stat.st_mtime_ns:x}"
    with suppress(RuntimeError):  # no home folder
        return user_cache_dir() / "unpacked" / name
    return None


def _keep(place: Path, data: bytes) -> None:
    """Write `data` to `place` whole or not at all; a full or read-only disk only costs the next run its time."""
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as file:
            try:
                file.write(data)
                file.close()
                os.replace(file.name, place)
            except BaseException:
                os.unlink(file.name)
                raise
