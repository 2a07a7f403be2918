"""A deep-learning framework to read from `loss.backward()` down to the micro-kernel, and to train with.

PyTorch's names and semantics: `dd2424.Tensor`, `dd2424.nn`, `dd2424.optim`, `dd2424.autograd`, `dd2424.utils.data`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

try:
    from dd2424 import _core
except ImportError as error:  # DD2424_ISA may be wrong: from the command line a user's mistake, without a traceback
    if sys.argv[0] == "-m" or sys.argv[0].endswith("dd2424"):
        sys.exit(f"dd2424: {error}")
    raise
from dd2424._aliases import *
from dd2424._autocast import *
from dd2424._core import Generator as Generator, Size as Size, Tensor as Tensor, dtype as dtype
from dd2424._device import device as device
from dd2424._dtypes import *
from dd2424._extra import *
from dd2424._formats import (
    channels_last as channels_last,
    channels_last_3d as channels_last_3d,
    contiguous_format as contiguous_format,
    memory_format as memory_format,
    preserve_format as preserve_format,
)
from dd2424._grad_mode import (
    enable_grad as enable_grad,
    inference_mode as inference_mode,
    is_grad_enabled as is_grad_enabled,
    is_inference_mode_enabled as is_inference_mode_enabled,
    no_grad as no_grad,
    set_grad_enabled as set_grad_enabled,
)
from dd2424._lazy import lazy_getattr
from dd2424._print import set_printoptions as set_printoptions
from dd2424._runtime import *
from dd2424._save import load as load, save as save
from dd2424._tensor import install
from dd2424._typed import *
from dd2424.functional.activation import *
from dd2424.functional.creation import *
from dd2424.functional.dropout import *
from dd2424.functional.elementwise import *
from dd2424.functional.elementwise_binary import *
from dd2424.functional.elementwise_special import i0 as i0
from dd2424.functional.embedding import embedding as embedding
from dd2424.functional.gemm import *
from dd2424.functional.gemm_einsum import einsum as einsum
from dd2424.functional.index import *
from dd2424.functional.index_reduce import *
from dd2424.functional.loss_distance import (
    cosine_embedding_loss as cosine_embedding_loss,
    triplet_margin_loss as triplet_margin_loss,
)
from dd2424.functional.norm import (
    batch_norm as batch_norm,
    group_norm as group_norm,
    instance_norm as instance_norm,
    layer_norm as layer_norm,
    rms_norm as rms_norm,
)
from dd2424.functional.pool import (
    adaptive_avg_pool1d as adaptive_avg_pool1d,
    adaptive_max_pool1d_with_indices as adaptive_max_pool1d,
    avg_pool1d as avg_pool1d,
    max_pool1d as max_pool1d,
    max_pool1d_with_indices as max_pool1d_with_indices,
    max_pool2d as max_pool2d,
    max_pool3d as max_pool3d,
)
from dd2424.functional.random import *
from dd2424.functional.reduce import *
from dd2424.functional.reduce_composed import *
from dd2424.functional.resample import (
    channel_shuffle as channel_shuffle,
    pixel_shuffle as pixel_shuffle,
    pixel_unshuffle as pixel_unshuffle,
)
from dd2424.functional.rnn import *
from dd2424.functional.shape import *
from dd2424.functional.shape_repeat import *
from dd2424.functional.sort import *
from dd2424.functional.sort_sets import *

if TYPE_CHECKING:
    from dd2424 import (
        amp as amp,
        autograd as autograd,
        backends as backends,
        cuda as cuda,
        data as data,
        distributions as distributions,
        func as func,
        functional as functional,
        labs as labs,
        linalg as linalg,
        models as models,
        nn as nn,
        optim as optim,
        special as special,
        testing as testing,
        train as train,
        utils as utils,
    )

__version__ = "0.1.0"
install()
_SUBMODULES = (
    "amp", "autograd", "backends", "cuda", "data", "distributions", "func", "functional", "labs", "linalg", "models",
    "nn", "optim", "special", "testing", "train", "utils",
)  # fmt: skip
__getattr__ = lazy_getattr("dd2424", _SUBMODULES)


def __dir__() -> list[str]:
    return sorted({name for name in globals() if not name.startswith("_")} | set(_SUBMODULES) | {"__version__"})
