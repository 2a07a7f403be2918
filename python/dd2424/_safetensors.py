"""Arrays and text in a safetensors file. Reading executes nothing, and equal contents give equal bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16, "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "i1", "U8": "u1", "BOOL": "?",
}  # fmt: skip
_METADATA = "dd2424"  # the one key: the library keeps no order among several


def serialize(arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a safetensors file holding `arrays` and, in its header, `metadata`.

    Raises: ValueError for a dtype that the format does not know.
    """
    from safetensors.numpy import save

    known = {np.dtype(dtype).newbyteorder("=") for dtype in _DTYPES.values()}
    for name, array in arrays.items():
        if array.dtype.newbyteorder("=") not in known:
            raise ValueError(f"serialize: {name} must have a dtype of {', '.join(_DTYPES)}, got {array.dtype}")
    plain = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in sorted(arrays.items())}
    text = json.dumps(dict(metadata or {}), sort_keys=True, separators=(",", ":"))
    return save(plain, {_METADATA: text} if metadata else None)


def deserialize(data: bytes) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays and the metadata in the bytes of a safetensors file.

    Raises: ValueError saying what is wrong with the bytes.
    """
    from safetensors import SafetensorError, deserialize as read

    try:
        entries = read(data)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise ValueError(f"it must be a whole safetensors file: {error}") from error
    arrays = {}
    for name, entry in sorted(entries):
        if entry["dtype"] not in _DTYPES:
            raise ValueError(f"its array {name!r} must have a dtype of {', '.join(_DTYPES)}, got {entry['dtype']}")
        flat = np.frombuffer(bytearray(entry["data"]), _DTYPES[entry["dtype"]])
        arrays[name] = flat.reshape(entry["shape"])
    header_bytes = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + header_bytes]).get("__metadata__", {})
    if _METADATA in metadata:
        metadata = json.loads(metadata[_METADATA])
    return arrays, {str(key): str(value) for key, value in metadata.items()}
