"""Sequences of different lengths: padded to one, or packed so that nothing is computed for the padding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dd2424 import _core, functional as F
from dd2424._core import Tensor
from dd2424._host import beside, host_array

__all__ = [
    "PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence",
    "pad_sequence", "unpack_sequence", "unpad_sequence",
]  # fmt: skip

_Integers = npt.NDArray[np.int64]


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Packed):
    """The steps of several sequences one after another: at each step those that are that long, the longest first.

    Shapes: data (sum of lengths, *); batch_sizes (T,), how many sequences each step has; sorted_indices (B,), which
    sequence stands where, and unsorted_indices (B,), where each stands; both None if they were sorted already.
    """

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same sequences on another device or of another dtype."""
        return self._with(self.data.to(*args, **kwargs))

    def _with(self, data: Tensor) -> PackedSequence:
        return PackedSequence(data, *self[1:])

    def double(self) -> PackedSequence:
        """In float64."""
        return self._with(self.data.double())

    def float(self) -> PackedSequence:
        """In float32."""
        return self._with(self.data.float())

    def half(self) -> PackedSequence:
        """In float16."""
        return self._with(self.data.half())

    def long(self) -> PackedSequence:
        """In int64."""
        return self._with(self.data.long())

    def int(self) -> PackedSequence:
        """In int32."""
        return self._with(self.data.int())

    def cpu(self) -> PackedSequence:
        """In the processor's memory."""
        return self._with(self.data.cpu())

    def pin_memory(self) -> PackedSequence:
        """In memory of the host's that a GPU reaches by itself. Raises: RuntimeError where there is no GPU."""
        return self._with(self.data.pin_memory())

    @property
    def is_cuda(self) -> bool:
        """Whether the data are in a GPU's memory."""
        return self.data.is_cuda

    def is_pinned(self) -> bool:
        """Whether the data are pinned."""
        return self.data.is_pinned()


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """Where each number stands in a permutation; None for None."""
    return None if permutation is None else beside(np.argsort(host_array(permutation), kind="stable"), permutation)


def _checked_lengths(op: str, lengths: Tensor | Sequence[int], batch: int, steps: int) -> _Integers:
    values = np.asarray(host_array(lengths) if isinstance(lengths, Tensor) else lengths)
    if values.ndim != 1 or len(values) != batch:
        raise RuntimeError(f"{op}: lengths must be one for each of {batch} sequences, got shape {values.shape}")
    if values.size and values.dtype.kind not in "iu":
        raise RuntimeError(f"{op}: lengths must be integers, got {values.dtype}")
    if values.size == 0 or values.min() <= 0:
        raise RuntimeError(f"{op}: lengths must be greater than 0, got {values.tolist()}")
    if values.max() > steps:
        raise RuntimeError(f"{op}: lengths must be at most the {steps} steps of input, got {values.max()}")
    return values.astype(np.int64)


def _rows(lengths: _Integers, step_stride: int, sequence_stride: int, order: _Integers) -> _Integers:
    """The places of packed rows in padded ones, step after step, for lengths from the longest to the shortest."""
    steps, places = np.nonzero(np.arange(lengths.max())[:, None] < lengths)
    return np.asarray(steps * step_stride + order[places] * sequence_stride, np.int64)


def pack_padded_sequence(
    input: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack padded sequences. With enforce_sorted they must come from the longest to the shortest.

    Shapes: input (T, B, *) or, with batch_first, (B, T, *); lengths (B,).
    Raises: RuntimeError for a length of 0 or beyond T, a wrong number of lengths, or an order that is enforced.
    """
    if input.ndim < 2:
        raise RuntimeError(f"pack_padded_sequence: input must have at least 2 dimensions, got {tuple(input.shape)}")
    batch, steps = input.shape[:2] if batch_first else (input.shape[1], input.shape[0])
    sizes = _checked_lengths("pack_padded_sequence", lengths, batch, steps)
    is_sorted = bool(np.all(sizes[1:] <= sizes[:-1]))
    if enforce_sorted and not is_sorted:
        raise RuntimeError("pack_padded_sequence: lengths must be sorted in decreasing order while enforce_sorted is "
                           f"True, got {sizes.tolist()}")  # fmt: skip
    order = np.argsort(-sizes, kind="stable").astype(np.int64)
    strides = (1, steps) if batch_first else (batch, 1)
    rows = _rows(sizes[order], *strides, np.arange(batch) if enforce_sorted else order)
    flat = input.reshape((batch * steps, *input.shape[2:]))
    batch_sizes = (np.arange(sizes.max())[:, None] < sizes).sum(1).astype(np.int64)
    data, counts = F.index_select(flat, 0, beside(rows, flat)), _core.from_numpy(batch_sizes)
    return PackedSequence(data, counts, None if enforce_sorted else beside(order, flat))


def _lengths(sequence: PackedSequence) -> _Integers:
    """From the longest to the shortest."""
    sizes = sequence.batch_sizes.numpy()
    return np.asarray((np.arange(sizes[0]) < sizes[:, None]).sum(0), np.int64)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Unpack to sequences padded to the longest, or to total_length; and their lengths.

    Shapes: (T, B, *) or, with batch_first, (B, T, *); lengths (B,).
    Raises: ValueError for a total_length below the longest.
    """
    lengths = _lengths(sequence)
    batch, steps = len(lengths), len(sequence.batch_sizes)
    if total_length is not None:
        if total_length < steps:
            raise ValueError(f"pad_packed_sequence: total_length must be at least {steps}, the longest sequence, "
                             f"got {total_length}")  # fmt: skip
        steps = total_length
    order = np.arange(batch) if sequence.sorted_indices is None else host_array(sequence.sorted_indices)
    strides, shape = ((1, steps), (batch, steps)) if batch_first else ((batch, 1), (steps, batch))
    data = sequence.data
    rows = beside(_rows(lengths, *strides, order), data)
    blank = _core.full((batch * steps, *data.shape[1:]), padding_value, dtype=data.dtype, device=data.device)
    padded = F.index_copy(blank, 0, rows, data).reshape((*shape, *data.shape[1:]))
    own = lengths if sequence.unsorted_indices is None else lengths[host_array(sequence.unsorted_indices)]
    return padded, _core.from_numpy(own)


def pad_sequence(
    sequences: Tensor | Iterable[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Stack sequences, each padded to the longest.

    Shapes: sequences (T_i, *); output (T, B, *) or, with batch_first, (B, T, *).
    Raises: RuntimeError for no sequences or another padding_side.
    """
    if not isinstance(sequences, Tensor | Iterable):
        raise RuntimeError(f"pad_sequence: sequences must be an iterable of tensors, got {type(sequences).__name__}")
    parts = tuple(F.unbind(sequences) if isinstance(sequences, Tensor) else sequences)
    if not parts:
        raise RuntimeError("pad_sequence: sequences must not be empty")
    if padding_side not in ("right", "left"):
        raise RuntimeError(f"pad_sequence: padding_side must be 'right' or 'left', got {padding_side!r}")
    longest = max(len(part) for part in parts)
    for part in parts:
        if part.shape[1:] != parts[0].shape[1:]:
            raise RuntimeError(f"pad_sequence: sequences must have the same features, got {tuple(part.shape)} "
                               f"after {tuple(parts[0].shape)}")  # fmt: skip

    def padded(part: Tensor) -> Tensor:
        missing = (longest - len(part), *part.shape[1:])
        blank = _core.full(missing, padding_value, dtype=part.dtype, device=part.device)
        return F.cat([part, blank] if padding_side == "right" else [blank, part], 0)

    return F.stack([padded(part) for part in parts], 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The sequences that were padded, each as long as it is. Shapes: (T, B, *) or (B, T, *), lengths (B,)."""
    by_sequence = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [part[:length] for part, length in zip(by_sequence, lengths.tolist(), strict=True)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences of different lengths. Raises: as `pack_padded_sequence`."""
    lengths = [len(part) for part in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences that were packed, in the order in which they came."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
