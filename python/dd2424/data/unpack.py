"""Bytes out of plain, .gz and .xz files and .tar.gz archives, never more of them than expected."""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, BinaryIO, cast

from .errors import DataError

SUFFIXES = ("", ".gz", ".xz")
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, tarfile.TarError)


def unpack(path: Path, limit: int | None = None) -> bytes:
    """Return what a file holds, uncompressed as its suffix says; reading stops one byte after `limit`.

    Raises: DataError when the file cannot be read or its compressed stream is cut short or damaged.
    """
    try:
        with _open(path) as stream:
            return stream.read(-1 if limit is None else limit + 1)
    except _DAMAGED as error:
        raise _damaged(path, error) from None
    except OSError as error:
        raise DataError(f"{path} must be a readable file, got {error.strerror or error}") from None


def unpack_members(path: Path, members: Collection[str], limit: int) -> dict[str, bytes]:
    """Return the named members of a .tar.gz archive, read in one pass and never written to disk.

    Raises: DataError when one is missing, or the archive is cut short or damaged.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                if member.name in members and member.isfile():
                    found[member.name] = cast("IO[bytes]", archive.extractfile(member)).read(limit + 1)
                if len(found) == len(members):
                    return found
    except _DAMAGED as error:
        raise _damaged(path, error) from None
    except OSError as error:
        raise DataError(f"{path} must be a readable archive, got {error.strerror or error}") from None
    missing = ", ".join(sorted(set(members) - found.keys()))
    raise DataError(f"{path} must hold {missing}, got an archive without")


def _open(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return cast(BinaryIO, gzip.open(path))
    if path.suffix == ".xz":
        return cast(BinaryIO, lzma.open(path))
    return path.open("rb")


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} must be a whole {''.join(path.suffixes)} file, got one cut short or damaged ({error})")
