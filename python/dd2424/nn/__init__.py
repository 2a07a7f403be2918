"""Modules: networks and their layers."""

from typing import TYPE_CHECKING

from dd2424._lazy import lazy_getattr
from dd2424.nn.activation import *
from dd2424.nn.attention import *
from dd2424.nn.cache import *
from dd2424.nn.container import *
from dd2424.nn.conv import *
from dd2424.nn.distance import *
from dd2424.nn.dropout import *
from dd2424.nn.embedding import *
from dd2424.nn.flatten import *
from dd2424.nn.linear import *
from dd2424.nn.loss import *
from dd2424.nn.loss_distance import *
from dd2424.nn.loss_margin import *
from dd2424.nn.module import *
from dd2424.nn.norm import *
from dd2424.nn.norm_layer import *
from dd2424.nn.parameter import *
from dd2424.nn.pool import *
from dd2424.nn.pool_composed import *
from dd2424.nn.position import *
from dd2424.nn.resample import *
from dd2424.nn.resample_pad import *
from dd2424.nn.rnn import *
from dd2424.nn.rnn_cell import *
from dd2424.nn.transformer import *

if TYPE_CHECKING:
    from dd2424.nn import functional as functional, init as init, utils as utils

__getattr__ = lazy_getattr("dd2424.nn", ("functional", "init", "utils"))
