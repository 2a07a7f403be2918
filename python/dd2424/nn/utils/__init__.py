"""Helpers for parameters and gradients."""

from typing import TYPE_CHECKING

from dd2424._lazy import lazy_getattr
from dd2424.nn.utils.clip_grad import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from dd2424.nn.utils.convert_parameters import parameters_to_vector, vector_to_parameters
from dd2424.nn.utils.weight_norm import remove_spectral_norm, remove_weight_norm, spectral_norm, weight_norm

if TYPE_CHECKING:
    from dd2424.nn.utils import parametrizations as parametrizations, parametrize as parametrize, rnn as rnn

__all__ = [
    "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm", "parameters_to_vector",
    "parametrizations", "parametrize", "remove_spectral_norm", "remove_weight_norm", "rnn", "spectral_norm",
    "vector_to_parameters", "weight_norm",
]  # fmt: skip
__getattr__ = lazy_getattr("dd2424.nn.utils", ("parametrizations", "parametrize", "rnn"))
