"""Methods of PyTorch's tensors that there are none of here: asking for one says so, and names the nearest there is.

They are listed so that no attribute of a tensor pays for it: a catch-all would slow every look-up down.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from dd2424._core import Tensor
from dd2424._lazy import MissingNameError

_NAMES = """
    angle apply_ as_strided_scatter as_subclass ccol_indices cdouble cfloat chalf cholesky_inverse
    coalesce col_indices conj_physical conj_physical_ const_data_ptr corrcoef cov crow_indices dense_dim dequantize
    dim_order eig frexp gcd gcd_ geqrf grad_dtype hash_tensor histogram i0 i0_ igamma igamma_ igammac igammac_ imag
    index indices int_repr ipu is_coalesced is_distributed is_ipu is_maia is_mkldnn is_mps is_mtia is_nested
    is_set_to is_sparse_csr is_vulkan is_xla is_xpu istft lcm lcm_ logcumsumexp lstsq lu lu_solve map2_ map_
    module_load mtia mvlgamma mvlgamma_ name new new_empty_strided nextafter nextafter_ nonzero_static orgqr ormqr
    polygamma polygamma_ q_per_channel_axis q_per_channel_scales q_per_channel_zero_points q_scale q_zero_point
    qscheme reinforce resize resize_ resize_as resize_as_ resize_as_sparse_ row_indices set_
    slice_inverse smm solve sparse_dim sparse_mask sparse_resize_ sparse_resize_and_clear_ sspaddmm stft
    storage storage_type  symeig to_dense to_mkldnn to_padded_tensor to_sparse to_sparse_bsc
    to_sparse_bsr to_sparse_coo to_sparse_csc to_sparse_csr triangular_solve unsafe_chunk unsafe_split
    unsafe_split_with_sizes untyped_storage values volatile xpu
"""

_NEW_MEMORY = "a tensor keeps its memory: make another with new_empty(), or let reshape() copy"
_INSTEAD = {
    "resize": _NEW_MEMORY, "resize_": _NEW_MEMORY, "resize_as": _NEW_MEMORY, "resize_as_": _NEW_MEMORY,
    "set_": "to read another tensor's memory, assign to .data",
    "apply_": "use the operation itself, or write through numpy()", "map_": "use the operation itself, or numpy()",
    "map2_": "use the operation itself, or numpy()",
    "storage": "see data_ptr(), storage_offset() and stride()",
    "untyped_storage": "see data_ptr(), storage_offset() and stride()",
    "new": "use new_empty(), new_zeros() or new_tensor()",
}  # fmt: skip


class _Missing:
    """A descriptor that raises MissingNameError, whether the class or a tensor is asked."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: Tensor | None, owner: type) -> NoReturn:
        raise MissingNameError("Tensor", self._name, _Known(owner), _INSTEAD.get(self._name, ""))


class _Known:
    """The names that there are, looked up when a message is read."""

    def __init__(self, owner: type) -> None:
        self._owner = owner

    def __iter__(self) -> Iterator[str]:
        return (name for name in dir(self._owner) if not isinstance(_found(self._owner, name), _Missing))


def _found(owner: type, name: str) -> Any:
    """What the class holds under a name, without asking descriptors."""
    return next((vars(cls)[name] for cls in owner.__mro__ if name in vars(cls)), None)


def install() -> None:
    """Set what is missing on the type, after everything that is there."""
    for name in _NAMES.split():
        if _found(Tensor, name) is None:
            setattr(Tensor, name, _Missing(name))
