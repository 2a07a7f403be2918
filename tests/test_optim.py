"""Every optimizer against its rule in float64, over several steps, for every option that changes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import nn, optim
from reference import optim as reference

# fmt: off
CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.4, "weight_decay": 0.2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "maximize": True, "weight_decay": 0.2}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.2}),
    ("Adam", {"lr": 0.1, "betas": (0.8, 0.6), "amsgrad": True}),
    ("Adam", {"lr": 0.1, "maximize": True, "weight_decay": 0.2}),
    ("Adam", {"lr": 0.1, "decoupled_weight_decay": True, "weight_decay": 0.2}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.1, "momentum_decay": 0.5, "weight_decay": 0.2}),
    ("NAdam", {"lr": 0.1, "decoupled_weight_decay": True, "weight_decay": 0.2, "maximize": True}),
    ("RAdam", {}),
    ("RAdam", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.2}),
    ("RAdam", {"lr": 0.1, "decoupled_weight_decay": True, "weight_decay": 0.2, "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.1, "betas": (0.8, 0.6), "weight_decay": 0.2, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.1, "alpha": 0.6, "momentum": 0.9, "weight_decay": 0.2}),
    ("RMSprop", {"lr": 0.1, "alpha": 0.6, "centered": True, "eps": 0.1}),
    ("RMSprop", {"momentum": 0.5, "alpha": 0.6, "centered": True, "eps": 0.1, "maximize": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.3, "weight_decay": 0.2, "initial_accumulator_value": 0.5}),
    ("Adagrad", {"lr": 0.1, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.6, "weight_decay": 0.2, "eps": 1e-3, "maximize": True}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (0.05, 0.2), "maximize": True}),
    ("ASGD", {}),
    ("ASGD", {"lr": 0.1, "lambd": 0.3, "alpha": 0.5, "weight_decay": 0.2, "maximize": True}),
]
# fmt: on
IN_ONE_KERNEL = [
    name for name in optim.__all__ if name not in ("LBFGS", "Optimizer", "Rprop", "ASGD") and name[0].isupper()
]
SIZES = [(), (1,), (7,), (16, 3), (37,)]
STEPS = 7


def gradients(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.float64) -> list[Any]:
    return [np.asarray(rng.standard_normal(shape), dtype) for _ in range(STEPS)]


def make(name: str, params: Any, **options: Any) -> optim.Optimizer:
    return getattr(optim, name)(params, **options)  # type: ignore[no-any-return]


def take_steps(optimizer: optim.Optimizer, params: list[nn.Parameter], grads: list[list[Any]]) -> None:
    for step in range(len(grads[0])):
        for parameter, own in zip(params, grads, strict=True):
            parameter.grad = dd2424.from_numpy(own[step].copy())
        optimizer.step()


@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_matches_the_rule(rng: np.random.Generator, isa: str, name: str, options: dict[str, Any], dtype: Any) -> None:
    starts = [np.asarray(rng.standard_normal(size), dtype) for size in SIZES]
    grads = [gradients(rng, size, dtype) for size in SIZES]
    params = [nn.Parameter(dd2424.from_numpy(start.copy())) for start in starts]
    take_steps(make(name, params, **options), params, grads)
    rule = getattr(reference, name.lower())
    for start, own, parameter in zip(starts, grads, params, strict=True):
        expected = rule(start.astype(np.float64), [g.astype(np.float64) for g in own], **options)
        assert_accurate(parameter, expected, roundings=60, scale=1.0)


@pytest.mark.parametrize("name", IN_ONE_KERNEL)
def test_a_group_is_one_kernel_call(rng: np.random.Generator, name: str) -> None:
    options = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
    params = [nn.Parameter(dd2424.from_numpy(rng.standard_normal(n))) for n in (3, 100, 1)]
    optimizer = make(name, params, **options)
    take_steps(optimizer, params, [gradients(rng, (n,))[:1] for n in (3, 100, 1)])
    before = dd2424.kernel_count()
    optimizer.step()
    assert dd2424.kernel_count() - before == 1


@pytest.mark.parametrize("name", IN_ONE_KERNEL)
def test_same_bits_for_any_threads(rng: np.random.Generator, name: str) -> None:
    sizes = (70_001, 5, 33_000)
    starts = [rng.standard_normal(n).astype(np.float32) for n in sizes]
    grads = [[rng.standard_normal(n).astype(np.float32) for _ in range(2)] for n in sizes]

    def run() -> Any:
        params = [nn.Parameter(dd2424.from_numpy(start.copy())) for start in starts]
        take_steps(make(name, params, lr=0.1, weight_decay=0.1), params, grads)
        return tuple(parameter.detach() for parameter in params)

    same_for_any_threads(run)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_bfloat16_computes_in_float32(rng: np.random.Generator, isa: str, name: str) -> None:
    start = dd2424.from_numpy(rng.standard_normal(37).astype(np.float32)).bfloat16()
    grad = dd2424.from_numpy(rng.standard_normal(37).astype(np.float32)).bfloat16()
    parameter = nn.Parameter(start.clone())
    parameter.grad = grad
    make(name, [parameter], lr=0.1).step()
    rule = getattr(reference, name.lower())
    expected = rule(start.double().numpy(), [grad.double().numpy()], lr=0.1)
    assert parameter.dtype == dd2424.bfloat16
    assert_accurate(parameter, expected, roundings=1)


@pytest.mark.parametrize("name", [*IN_ONE_KERNEL, "Rprop", "ASGD"])
def test_layouts_of_parameter_and_gradient_may_differ(rng: np.random.Generator, name: str) -> None:
    start, grads = rng.standard_normal((5, 7)), gradients(rng, (5, 7))
    results = []
    for is_transposed in (False, True):
        data = dd2424.from_numpy(start.T.copy()).T if is_transposed else dd2424.from_numpy(start.copy())
        parameter = nn.Parameter(data)
        optimizer = make(name, [parameter], lr=0.1, **({"momentum": 0.9} if name == "SGD" else {}))
        take_steps(optimizer, [parameter], [grads])
        if is_transposed:
            assert parameter.stride() == (1, 5)
        results.append(bits(parameter.detach().contiguous()))
    assert results[0] == results[1]


@pytest.mark.parametrize("name", [*IN_ONE_KERNEL, "Rprop", "ASGD"])
def test_the_stride_of_a_single_element_does_not_matter(rng: np.random.Generator, name: str) -> None:
    options = {"momentum": 0.9} if name == "SGD" else {}
    for view in (lambda t: t.T, lambda t: t.reshape(1, 4, 2)[:, :1].permute(2, 0, 1),
                 lambda t: t.reshape(2, 1, 2, 2).contiguous(memory_format=dd2424.channels_last)):  # fmt: skip
        start = rng.standard_normal((8, 1))
        shape = tuple(view(dd2424.from_numpy(start)).shape)
        grads, results = gradients(rng, shape), []
        for is_plain in (False, True):
            data = view(dd2424.from_numpy(start.copy()))
            parameter = nn.Parameter(data.clone(memory_format=dd2424.contiguous_format) if is_plain else data)
            take_steps(make(name, [parameter], lr=0.1, **options), [parameter], [grads])
            results.append(bits(parameter.detach().clone(memory_format=dd2424.contiguous_format)))
        assert results[0] == results[1]


def test_asgd_averages_what_comes_after_t0(rng: np.random.Generator) -> None:
    parameter = nn.Parameter(dd2424.zeros(3, dtype=dd2424.float64))
    optimizer = optim.ASGD([parameter], lr=0.1, lambd=0.0, t0=2)
    path = []
    for grad in gradients(rng, (3,)):
        parameter.grad = dd2424.from_numpy(grad)
        optimizer.step()
        path.append(parameter.detach().numpy().copy())
    assert_accurate(optimizer.state[parameter]["ax"], np.mean(path[3:], 0), roundings=40, scale=1.0)


def test_centered_rmsprop_of_a_constant_gradient_stays_finite() -> None:
    parameter = nn.Parameter(dd2424.zeros(64))
    optimizer = optim.RMSprop([parameter], alpha=0.5, centered=True)
    take_steps(optimizer, [parameter], [[np.full(64, 0.1, np.float32)] * 60])
    assert np.isfinite(parameter.detach().numpy()).all()
