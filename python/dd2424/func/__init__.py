"""Transforms of functions: derivatives by argument, calls for each item of a batch, parameters from outside."""

from dd2424._lazy import lazy_getattr
from dd2424.func.batch import vmap as vmap
from dd2424.func.derivative import (
    grad as grad,
    grad_and_value as grad_and_value,
    hessian as hessian,
    jacfwd as jacfwd,
    jacrev as jacrev,
    jvp as jvp,
    vjp as vjp,
)
from dd2424.func.module import functional_call as functional_call, stack_module_state as stack_module_state

__getattr__ = lazy_getattr("dd2424.func")
