"""A deep-learning framework to read from `loss.backward()` down to the micro-kernel, and to train with.

PyTorch's names and semantics: `dd2424.Tensor`, `dd2424.nn`, `dd2424.optim`, `dd2424.autograd`, `dd2424.utils.data`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dd2424 import _core
from dd2424._aliases import *
from dd2424._core import Generator, Size, Tensor, dtype
from dd2424._device import device
from dd2424._dtypes import *
from dd2424._extra import *
from dd2424._formats import channels_last, channels_last_3d, contiguous_format, memory_format, preserve_format
from dd2424._grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from dd2424._interop import *
from dd2424._lazy import lazy_getattr
from dd2424._print import set_printoptions
from dd2424._runtime import *
from dd2424._save import load, save
from dd2424._tensor import install
from dd2424.functional.activation import *
from dd2424.functional.creation import *
from dd2424.functional.dropout import *
from dd2424.functional.elementwise import *
from dd2424.functional.elementwise_binary import *
from dd2424.functional.embedding import embedding
from dd2424.functional.gemm import *
from dd2424.functional.gemm_einsum import einsum
from dd2424.functional.index import *
from dd2424.functional.index_reduce import *
from dd2424.functional.index_sort import *
from dd2424.functional.loss_distance import cosine_embedding_loss, triplet_margin_loss
from dd2424.functional.norm import batch_norm, group_norm, instance_norm, layer_norm, rms_norm
from dd2424.functional.random import *
from dd2424.functional.reduce import *
from dd2424.functional.shape import *
from dd2424.functional.shape_repeat import *

if TYPE_CHECKING:
    from dd2424 import autograd, cuda, data, functional, labs, linalg, models, nn, optim, testing, train, utils

__version__ = "0.1.0"
install()
_SUBMODULES = (
    "autograd", "cuda", "data", "functional", "labs", "linalg", "models", "nn", "optim", "testing", "train", "utils",
)  # fmt: skip
__getattr__ = lazy_getattr("dd2424", _SUBMODULES)


def __dir__() -> list[str]:
    return sorted({name for name in globals() if not name.startswith("_")} | set(_SUBMODULES) | {"__version__"})
