"""The safetensors format over NumPy: a JSON header, then the arrays' bytes. Reading executes nothing.

Layout: 8 bytes header length (little-endian), the header {name: {dtype, shape, data_offsets}}, the data.
Names are sorted and no time is stored, so equal arrays give equal files.
Source: github.com/huggingface/safetensors, README, "Format".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_MAX_HEADER_BYTES = 100_000_000


def serialize(arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a safetensors file holding `arrays` and, in its header, `metadata`.

    Raises: ValueError for a dtype that the format does not know.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    chunks: list[bytes] = []
    offset = 0
    for name, array in sorted(arrays.items()):
        dtype = array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else array.dtype
        if dtype not in _NAMES:
            raise ValueError(f"serialize: {name} must have a dtype of {', '.join(_DTYPES)}, got {array.dtype}")
        data = np.ascontiguousarray(array, dtype).tobytes()
        shape = list(array.shape)
        header[name] = {"dtype": _NAMES[dtype], "shape": shape, "data_offsets": [offset, offset + len(data)]}
        chunks.append(data)
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *chunks])


def deserialize(data: bytes) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays and the metadata in the bytes of a safetensors file; every length and offset is checked.

    Raises: ValueError saying what is wrong with the bytes.
    """
    if len(data) < 8:
        raise ValueError(f"it must have at least 8 bytes, got {len(data)}")
    header_bytes = int.from_bytes(data[:8], "little")
    if header_bytes > min(len(data) - 8, _MAX_HEADER_BYTES):
        raise ValueError(f"its header must fit its {len(data)} bytes, but claims {header_bytes}")
    try:
        header = json.loads(data[8 : 8 + header_bytes])
    except ValueError as error:
        raise ValueError(f"its header must be JSON: {error}") from error
    if not isinstance(header, dict):
        raise ValueError(f"its header must be a JSON object, got {type(header).__name__}")
    metadata = header.pop("__metadata__", {})
    payload = memoryview(data)[8 + header_bytes :]
    arrays: dict[str, Array] = {}
    end = 0
    for name, entry in sorted(header.items(), key=_offsets):
        arrays[name], end = _read_array(name, entry, payload, end)
    if end != len(payload):
        raise ValueError(f"its arrays must take {len(payload)} bytes, but the header describes {end}")
    return arrays, {str(key): str(value) for key, value in metadata.items()}


def _offsets(item: tuple[str, Any]) -> tuple[int, int]:
    try:
        begin, end = item[1]["data_offsets"]
        return int(begin), int(end)
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"its entry {item[0]!r} must have data_offsets") from error


def _read_array(name: str, entry: Any, payload: memoryview, expected_begin: int) -> tuple[Array, int]:
    try:
        dtype = _DTYPES[entry["dtype"]]
        shape = tuple(int(n) for n in entry["shape"])
        begin, end = (int(n) for n in entry["data_offsets"])
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"its entry {name!r} must have dtype, shape and data_offsets") from error
    if min(shape, default=0) < 0 or begin != expected_begin or end > len(payload):
        raise ValueError(f"its entry {name!r} must lie inside the data without gap, got {begin} to {end}")
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"its entry {name!r} must take {math.prod(shape) * dtype.itemsize} bytes, got {end - begin}")
    return np.frombuffer(payload[begin:end], dtype).reshape(shape).copy(), end
