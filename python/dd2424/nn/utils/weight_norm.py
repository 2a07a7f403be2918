"""Weight and spectral norm as hooks, under the names that older programs and their checkpoints use."""

from __future__ import annotations

from typing import Any

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._grad_mode import no_grad
from dd2424.nn.functional import normalize
from dd2424.nn.module import Module
from dd2424.nn.module_hooks import HookHandle
from dd2424.nn.parameter import Parameter
from dd2424.nn.utils.parametrizations import norm_except


class _Hook:
    """Computes a module's tensor before every forward; removed by its kind and the tensor's name."""

    handle: HookHandle

    def __init__(self, name: str) -> None:
        self.name = name

    def compute(self, module: Module) -> Tensor:
        raise NotImplementedError

    def __call__(self, module: Module, _: Any) -> None:
        setattr(module, self.name, self.compute(module))

    def attach(self, module: Module) -> Module:
        self(module, None)
        self.handle = module.register_forward_pre_hook(self)
        return module


def _take(kind: type[_Hook], op: str, module: Module, name: str) -> Any:
    for hook in module._own_hooks().forward_pre.values():
        if isinstance(hook, kind) and hook.name == name:
            hook.handle.remove()
            return hook
    raise ValueError(f"{op}: name must be a tensor so hooked of {type(module).__name__}, got '{name}'")


def _parameter(op: str, module: Module, name: str) -> Parameter:
    weight = dict(module.named_parameters(recurse=False)).get(name)
    if weight is None:
        raise ValueError(f"{op}: name must be a parameter of {type(module).__name__}, got '{name}'")
    delattr(module, name)
    return weight


class _WeightNorm(_Hook):
    def __init__(self, name: str, dim: int | None) -> None:
        super().__init__(name)
        self.dim = dim

    def compute(self, module: Module) -> Tensor:
        v = getattr(module, f"{self.name}_v")
        return v * (getattr(module, f"{self.name}_g") / norm_except(v, self.dim))  # type: ignore[no-any-return]


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn the parameter as `name_g` and `name_v`, w = g * v / |v|, computed before every forward; returns the module.

    Raises: ValueError for a name the module has not. `parametrizations.weight_norm` is the newer form.
    Source: Salimans and Kingma, "Weight Normalization", arXiv:1602.07868, equation 2.
    """
    weight = _parameter("weight_norm", module, name)
    module.register_parameter(f"{name}_g", Parameter(norm_except(weight.detach(), dim)))
    module.register_parameter(f"{name}_v", Parameter(weight.detach()))
    return _WeightNorm(name, dim).attach(module)


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Make it one parameter again. Raises: ValueError where it has no weight norm."""
    hook = _take(_WeightNorm, "remove_weight_norm", module, name)
    weight = hook.compute(module).detach()
    for part in (name, f"{name}_g", f"{name}_v"):
        delattr(module, part)
    module.register_parameter(name, Parameter(weight))
    return module


class _SpectralNorm(_Hook):
    def __init__(self, name: str, rounds: int, dim: int, eps: float) -> None:
        super().__init__(name)
        self.rounds, self.dim, self.eps = rounds, dim, eps

    def compute(self, module: Module) -> Tensor:
        weight = getattr(module, f"{self.name}_orig")
        u, v = getattr(module, f"{self.name}_u"), getattr(module, f"{self.name}_v")
        order = [self.dim] + [d for d in range(weight.ndim) if d != self.dim]
        matrix = weight.permute(order).reshape((weight.shape[self.dim], -1))
        if module.training:
            with no_grad():
                for _ in range(self.rounds):
                    v.copy_(normalize(_core.mv(matrix.t(), u), dim=0, eps=self.eps))
                    u.copy_(normalize(_core.mv(matrix, v), dim=0, eps=self.eps))
        return weight / _core.dot(u.clone(), _core.mv(matrix, v.clone()))  # type: ignore[no-any-return]


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide the parameter, learned as `name_orig`, by its largest singular value before every forward.

    Raises: ValueError for a name the module has not, or no iterations. `parametrizations.spectral_norm` is newer.
    Source: Miyato et al., "Spectral Normalization for Generative Adversarial Networks", arXiv:1802.05957, algorithm 1.
    """
    if n_power_iterations <= 0:
        raise ValueError(f"spectral_norm: n_power_iterations must be positive, got {n_power_iterations}")
    weight, along = _parameter("spectral_norm", module, name), dim or 0
    rows = weight.shape[along]
    module.register_parameter(f"{name}_orig", weight)
    for part, size in (("u", rows), ("v", weight.numel() // max(rows, 1))):
        draw = _core.empty((size,), dtype=weight.dtype, device=weight.device).normal_(0, 1)
        module.register_buffer(f"{name}_{part}", normalize(draw, dim=0, eps=eps))
    return _SpectralNorm(name, n_power_iterations, along, eps).attach(module)


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Make it one parameter again, divided as it is now. Raises: ValueError where it has no spectral norm."""
    hook = _take(_SpectralNorm, "remove_spectral_norm", module, name)
    was_training = module.training
    module.training = False
    weight = hook.compute(module).detach()
    module.training = was_training
    for part in (name, f"{name}_orig", f"{name}_u", f"{name}_v"):
        delattr(module, part)
    module.register_parameter(name, Parameter(weight))
    return module
