"""How a tensor reads: PyTorch's rules for digits, widths and what is left out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dd2424._core import Tensor


@dataclass
class PrintOptions:
    """precision: digits after the point; threshold: elements from which on the middle is left out; edgeitems: how many
    stay at each end; linewidth: characters a line; sci_mode: always, never or (None) where it is shorter."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES = {
    "default": PrintOptions(),
    "short": PrintOptions(precision=2, edgeitems=2),
    "full": PrintOptions(threshold=math.inf),
}
_options = PrintOptions()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are printed, from a profile ("default", "short", "full") or one by one; see `PrintOptions`."""
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(f"set_printoptions: profile must be one of {sorted(_PROFILES)}, got '{profile}'")
        _options.__dict__.update(vars(_PROFILES[profile]))
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    _options.__dict__.update({name: value for name, value in given.items() if value is not None})
    _options.sci_mode = sci_mode


class _Format:
    """One way to write every element: chosen from all that will be shown."""

    def __init__(self, shown: Any) -> None:
        self.kind = shown.dtype.kind
        values = shown.reshape(-1)
        self.scientific = self.whole = False
        if self.kind == "f":
            values = values[np.isfinite(values) & (values != 0)]  # the others neither choose nor widen
            self._choose(np.abs(values).astype(np.float64))
        self.width = max((len(self.write(value)) for value in values), default=0)

    def _choose(self, sizes: Any) -> None:
        if sizes.size == 0:
            self.whole = True
            return
        top, low = sizes.max(), sizes.min()
        self.whole = bool((sizes == np.ceil(sizes)).all())
        far = top / low > 1000 or top > 1e8 or (not self.whole and low < 1e-4)
        self.scientific = far if _options.sci_mode is None else _options.sci_mode

    def write(self, value: Any) -> str:
        if self.kind == "b":
            return str(bool(value))
        if self.kind != "f":
            return str(int(value))
        if self.scientific:
            return f"{value:.{_options.precision}e}"
        if self.whole:
            return f"{value:.0f}" + ("." if math.isfinite(value) else "")
        return f"{value:.{_options.precision}f}"

    def __call__(self, value: Any) -> str:
        return self.write(value).rjust(self.width)


def _edges(array: Any) -> Any:
    """What is shown of a large array: the ends of every dimension."""
    for dim, size in enumerate(array.shape):
        if size > 2 * _options.edgeitems:
            ends = np.r_[: _options.edgeitems, size - _options.edgeitems : size]
            array = np.take(array, ends, axis=dim)
    return array


def _text(array: Any, indent: int, summarize: bool, write: _Format) -> str:
    if array.ndim == 0:
        return write(array[()])
    cut = summarize and array.shape[0] > 2 * _options.edgeitems
    ends = [*range(_options.edgeitems), None, *range(array.shape[0] - _options.edgeitems, array.shape[0])]
    places = ends if cut else list(range(array.shape[0]))
    if array.ndim == 1:
        return _line([" ..." if i is None else write(array[i]) for i in places], indent, write.width)
    parts: list[str] = ["..." if i is None else _text(array[i], indent + 1, summarize, write) for i in places]
    gap: str = "," + "\n" * (array.ndim - 1) + " " * (indent + 1)
    return "[" + gap.join(parts) + "]"


def _line(words: list[str], indent: int, width: int) -> str:
    room = max(1, (_options.linewidth - indent) // (width + 2))
    rows = [", ".join(words[i : i + room]) for i in range(0, len(words), room)]
    return "[" + (",\n" + " " * (indent + 1)).join(rows) + "]"


def describe(tensor: Tensor) -> str:
    """The text of `repr(tensor)`."""
    from dd2424 import _core

    source = tensor.detach().cpu()
    array = (source.float() if source.dtype in (_core.bfloat16, _core.float16) else source).array
    summarize = array.size > _options.threshold
    prefix = "tensor("
    if array.size:
        body = _text(array, len(prefix), summarize, _Format(_edges(array) if summarize else array))
    else:
        body = "[]"
    notes = []
    if array.size == 0 and array.ndim != 1:
        notes.append(f"size={tuple(array.shape)}")
    if tensor.is_cuda:
        notes.append(f"device='{tensor.device}'")
    implied = (_core.get_default_dtype(),) if array.size == 0 else (
        _core.get_default_dtype(), _core.int64, _core.bool)  # fmt: skip
    if tensor.dtype not in implied:
        notes.append(f"dtype={tensor.dtype!r}")
    if tensor.grad_fn is not None:
        notes.append(f"grad_fn=<{tensor.grad_fn.name()}>")
    elif tensor.requires_grad:
        notes.append("requires_grad=True")
    return _with_notes(prefix + body, notes, len(prefix)) + ")"


def _with_notes(text: str, notes: list[str], indent: int) -> str:
    """Notes go on the last line while there is room, counting as PyTorch does, and then on lines of their own."""
    length = len(text) - text.rfind("\n") + 1
    for note in notes:
        fits = length + len(note) + 2 <= _options.linewidth
        text += (", " if fits else ",\n" + " " * indent) + note
        length = length + len(note) + 2 if fits else indent + len(note)
    return text
