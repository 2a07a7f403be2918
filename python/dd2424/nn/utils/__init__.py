"""Helpers for parameters and gradients."""

from dd2424._lazy import lazy_getattr
from dd2424.nn.utils.clip_grad import clip_grad_norm_, clip_grad_value_, get_total_norm
from dd2424.nn.utils.convert_parameters import parameters_to_vector, vector_to_parameters

__all__ = [
    "clip_grad_norm_", "clip_grad_value_", "get_total_norm", "parameters_to_vector", "vector_to_parameters",
]  # fmt: skip
__getattr__ = lazy_getattr("dd2424.nn.utils")
