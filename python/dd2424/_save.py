"""save and load: tensors and what holds them, in a safetensors file."""

from __future__ import annotations

import json
from os import PathLike, fspath
from typing import Any, BinaryIO

from dd2424._device import device
from dd2424._files import write_atomic
from dd2424._safetensors import Array, deserialize, serialize
from dd2424._state import put_together, take_apart

File = str | PathLike[str] | BinaryIO
_FORMAT = "dd2424-save"


def save(obj: Any, f: File) -> None:
    """Write tensors, arrays, numbers, strings, None, and lists, tuples and dicts of them, such as a `state_dict`.

    The file is safetensors: other programs read a state_dict's tensors under their own names. A path is written whole
    or not at all. Raises: TypeError for anything else (save a model's `state_dict()`, not the model); OSError.
    """
    arrays: dict[str, Array] = {}
    state = take_apart(obj, "", arrays)
    data = serialize(arrays, {"format": _FORMAT, "state": json.dumps(state)})
    if isinstance(f, str | PathLike):
        write_atomic(fspath(f), data)
    else:
        f.write(data)


def load(f: File, map_location: device | str | None = None, *, weights_only: bool = True) -> Any:
    """What `save` wrote, or a dict of the tensors in any other safetensors file. Nothing in it is executed.

    map_location: the device of the tensors, the processor's memory where it is not given.

    Raises: OSError; ValueError naming the file where it is damaged, or of another format such as PyTorch's.
    """
    name = fspath(f) if isinstance(f, str | PathLike) else getattr(f, "name", "file")
    if isinstance(f, str | PathLike):
        with open(f, "rb") as file:
            data = file.read()
    else:
        data = f.read()
    try:
        arrays, metadata = deserialize(data)
        if metadata.get("format") != _FORMAT:
            return put_together({name: {"__array__": name, "tensor": True} for name in arrays}, arrays, map_location)
        return put_together(json.loads(metadata["state"]), arrays, map_location)
    except (KeyError, ValueError) as error:
        raise ValueError(f"load: {name} must be a safetensors file: {error}") from error
