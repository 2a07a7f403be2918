"""Optimizers and learning-rate schedulers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dd2424._lazy import lazy_getattr
from dd2424.optim.adam import Adam, Adamax, AdamW
from dd2424.optim.adaptive import Adadelta, Adagrad, RMSprop
from dd2424.optim.optimizer import Optimizer
from dd2424.optim.sgd import SGD

if TYPE_CHECKING:
    from dd2424.optim import lr_scheduler as lr_scheduler

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Optimizer", "RMSprop", "lr_scheduler"]
__getattr__ = lazy_getattr("dd2424.optim", ("lr_scheduler",))
