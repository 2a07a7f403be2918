"""Modules: networks and their layers."""

from dd2424._lazy import lazy_getattr
from dd2424.nn.activation import *
from dd2424.nn.container import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from dd2424.nn.distance import CosineSimilarity, PairwiseDistance
from dd2424.nn.dropout import AlphaDropout, Dropout, Dropout1d, Dropout2d, Dropout3d, FeatureAlphaDropout
from dd2424.nn.embedding import Embedding, EmbeddingBag
from dd2424.nn.flatten import Flatten, Unflatten
from dd2424.nn.linear import Bilinear, Identity, LazyLinear, Linear
from dd2424.nn.loss import *
from dd2424.nn.loss_distance import *
from dd2424.nn.loss_margin import *
from dd2424.nn.module import Module
from dd2424.nn.norm import *
from dd2424.nn.norm_layer import *
from dd2424.nn.parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

__getattr__ = lazy_getattr("dd2424.nn", ("functional", "init", "utils"))
