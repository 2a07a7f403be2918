"""Learning-rate schedulers under PyTorch's module name."""

from __future__ import annotations

from dd2424._lazy import lazy_getattr
from dd2424.optim.schedule import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from dd2424.optim.schedule_combine import ChainedScheduler, ReduceLROnPlateau, SequentialLR
from dd2424.optim.schedule_cycle import CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR
from dd2424.optim.schedule_warmup import InverseSquareRootLR, WarmupCosineLR

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "InverseSquareRootLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "WarmupCosineLR",
]
_LRScheduler = LRScheduler  # the name in older programs
__getattr__ = lazy_getattr("dd2424.optim.lr_scheduler")
