"""NumPy's part in operations that no kernel computes, whichever device their tensors are on."""

from __future__ import annotations

from typing import Any

import numpy as np

from dd2424 import _core
from dd2424._core import Tensor


def host_array(x: Tensor) -> Any:
    """The elements as an array: the tensor's own memory, or a copy of a GPU's."""
    x = x.detach()
    return (_core.convert(x, device="cpu") if x.is_cuda else x).numpy()


def beside(array: Any, like: Tensor) -> Tensor:
    """A tensor of the array on the device of another tensor."""
    made = _core.from_numpy(np.asarray(array))
    return _core.convert(made, device=like.device) if like.is_cuda else made
