"""Operations under PyTorch's name for them, `nn.functional`: those of `dd2424.functional`."""

from __future__ import annotations

from dd2424._lazy import lazy_getattr
from dd2424.functional.activation import *
from dd2424.functional.attention import *
from dd2424.functional.attention_heads import *
from dd2424.functional.conv import *
from dd2424.functional.dropout import *
from dd2424.functional.embedding import *
from dd2424.functional.gemm import (
    bilinear as bilinear,
    cosine_similarity as cosine_similarity,
    pairwise_distance as pairwise_distance,
)
from dd2424.functional.linear import *
from dd2424.functional.loss import *
from dd2424.functional.loss_ctc import *
from dd2424.functional.loss_distance import *
from dd2424.functional.loss_margin import *
from dd2424.functional.loss_reduction import *
from dd2424.functional.norm import *
from dd2424.functional.pool import *
from dd2424.functional.pool_composed import *
from dd2424.functional.position import *
from dd2424.functional.resample import *
from dd2424.functional.resample_pad import *

__getattr__ = lazy_getattr("dd2424.nn.functional")
