"""Optimizers and gradient clipping on a GPU, real or emulated: as the processor's, without waiting for it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits
from dd2424 import nn, optim
from on_gpu import FLOATS, as_float, assert_alike, needs_gpu

pytestmark = needs_gpu
CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1, "weight_decay": 0.2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.4, "weight_decay": 0.2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adam", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.2}),
    ("Adam", {"lr": 0.1, "betas": (0.8, 0.6), "amsgrad": True, "maximize": True}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.3}),
    ("NAdam", {"lr": 0.1, "momentum_decay": 0.5, "weight_decay": 0.2}),
    ("RAdam", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.2}),
    ("Adamax", {"lr": 0.1, "betas": (0.8, 0.6), "weight_decay": 0.2}),
    ("RMSprop", {"lr": 0.1, "alpha": 0.6, "momentum": 0.9, "weight_decay": 0.2}),
    ("RMSprop", {"lr": 0.1, "alpha": 0.6, "centered": True, "eps": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.3, "weight_decay": 0.2, "initial_accumulator_value": 0.5}),
    ("Adadelta", {"lr": 0.5, "rho": 0.6, "weight_decay": 0.2, "eps": 1e-3}),
    ("Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (0.05, 0.2)}),
    ("ASGD", {"lr": 0.1, "lambd": 0.3, "alpha": 0.5, "weight_decay": 0.2}),
]
IN_ONE_LAUNCH = [(name, options) for name, options in CASES if name not in ("Rprop", "ASGD")]
SIZES = [(), (1,), (7,), (0,), (16, 3), (9, 1000)]
each_case = pytest.mark.parametrize(("name", "options"), CASES, ids=lambda v: v if isinstance(v, str) else "")
each_rule = pytest.mark.parametrize(("name", "options"), IN_ONE_LAUNCH, ids=lambda v: v if isinstance(v, str) else "")


def parameters(rng: np.random.Generator, dtype: str, device: str, sizes: Any = SIZES) -> list[nn.Parameter]:
    kind = getattr(dd2424, dtype)
    return [nn.Parameter(dd2424.tensor(rng.normal(size=size)).to(kind).to(device)) for size in sizes]


def take_steps(optimizer: optim.Optimizer, seed: int, count: int = 3) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        for parameter in optimizer.param_groups[0]["params"]:
            gradient = dd2424.tensor(rng.normal(size=tuple(parameter.shape)))
            parameter.grad = gradient.to(parameter.dtype).to(parameter.device)
        optimizer.step()


def make(name: str, options: dict[str, Any], dtype: str, device: str, sizes: Any = SIZES) -> optim.Optimizer:
    return getattr(optim, name)(parameters(np.random.default_rng(0), dtype, device, sizes), **options)  # type: ignore[no-any-return]


def states(optimizer: optim.Optimizer) -> list[Any]:
    members = [p for p in optimizer.param_groups[0]["params"] if p.numel() > 0]
    return [value for parameter in members for value in optimizer.state[parameter].values()]


@each_case
@pytest.mark.parametrize("dtype", FLOATS)
def test_steps_are_the_processors(name, options, dtype):
    if dtype == "bfloat16" and name in ("Rprop", "ASGD"):
        sizes: Any = [(7,)]
    else:
        sizes = SIZES
    here, gpu = (make(name, options, dtype, device, sizes) for device in ("cpu", "cuda"))
    for optimizer in (here, gpu):
        take_steps(optimizer, seed=1)
    for expected, got in zip(here.param_groups[0]["params"], gpu.param_groups[0]["params"], strict=True):
        assert_alike(got, expected, 16, scale=1.0)
    for expected, got in zip(states(here), states(gpu), strict=True):
        assert_accurate(as_float(got), as_float(expected).numpy().astype(np.float64),
                        2**18 if dtype == "bfloat16" else 16, scale=1.0)  # fmt: skip


@each_rule
def test_more_parameters_than_a_launch_has_room_for(name, options):
    sizes = [(k % 3,) for k in range(130)]
    here, gpu = (make(name, options, "float32", device, sizes) for device in ("cpu", "cuda"))
    for optimizer in (here, gpu):
        take_steps(optimizer, seed=2, count=1)
    for expected, got in zip(here.param_groups[0]["params"], gpu.param_groups[0]["params"], strict=True):
        assert_alike(got, expected, 16, scale=1.0)


@each_rule
def test_bits_are_the_same_again_and_elsewhere(name, options):
    found = []
    for shift in (0, 0, 1):
        optimizer = make(name, options, "float32", "cuda", [(9, 5), (33,)])
        for parameter in optimizer.param_groups[0]["params"]:
            moved = dd2424.zeros(parameter.numel() + shift, device="cuda")[shift:].view(*parameter.shape)
            parameter.data = moved.copy_(parameter.detach())
        take_steps(optimizer, seed=3)
        found.append(bits([p.detach().cpu() for p in optimizer.param_groups[0]["params"]]))
    assert found[0] == found[1] == found[2]


@each_rule
def test_a_rate_on_the_gpu_is_read_when_the_step_runs(name, options):
    plain, read = (make(name, options, "float32", "cuda", [(9, 5)]) for _ in range(2))
    rate = dd2424.tensor(options["lr"], dtype=dd2424.float64, device="cuda")
    read.param_groups[0]["lr"] = rate
    for optimizer in (plain, read):
        take_steps(optimizer, seed=4)
    plain.param_groups[0]["lr"] = options["lr"] / 4
    rate.fill_(options["lr"] / 4)
    for optimizer in (plain, read):
        take_steps(optimizer, seed=5)
    (expected,), (got,) = plain.param_groups[0]["params"], read.param_groups[0]["params"]
    assert bits(got.detach().cpu()) == bits(expected.detach().cpu())


@each_case
def test_state_goes_through_a_dictionary_and_between_devices(name, options):
    here, gpu = (make(name, options, "float32", device, [(5, 3)]) for device in ("cpu", "cuda"))
    take_steps(here, seed=6)
    for parameter, source in zip(gpu.param_groups[0]["params"], here.param_groups[0]["params"], strict=True):
        parameter.data = source.detach().cuda()
    gpu.load_state_dict(copy.deepcopy(here.state_dict()))
    for optimizer in (here, gpu):
        take_steps(optimizer, seed=7)
    (expected,), (got,) = here.param_groups[0]["params"], gpu.param_groups[0]["params"]
    assert_alike(got, expected, 16, scale=1.0)


def with_gradients(dtype: str, device: str, sizes: Any, scale: float = 1.0) -> list[nn.Parameter]:
    rng = np.random.default_rng(8)
    params = parameters(rng, dtype, device, sizes)
    for parameter in params:
        gradient = dd2424.tensor(scale * rng.normal(size=tuple(parameter.shape)))
        parameter.grad = gradient.to(parameter.dtype).to(device)
    return params


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("max_norm", [0.5, 1e6])
@pytest.mark.parametrize("sizes", [[(3, 5)], SIZES, [(k % 2,) for k in range(250)]], ids=["one", "some", "many"])
def test_clipping(dtype, max_norm, sizes):
    here, gpu = (with_gradients(dtype, device, sizes) for device in ("cpu", "cuda"))
    expected, got = (nn.utils.clip_grad_norm_(params, max_norm) for params in (here, gpu))
    assert_alike(got, expected, 4)
    for ours, theirs in zip(gpu, here, strict=True):
        assert_alike(ours.grad, theirs.grad, 4, scale=1e-2)


def test_clipping_knows_squares_that_overflow_and_nan():
    params = with_gradients("float32", "cuda", SIZES, scale=1e30)
    here = with_gradients("float32", "cpu", SIZES, scale=1e30)
    assert_alike(nn.utils.clip_grad_norm_(params, 1.0), nn.utils.clip_grad_norm_(here, 1.0), 4)
    params[2].grad[3] = float("nan")
    assert np.isnan(nn.utils.clip_grad_norm_(params, 1.0).item())
    assert np.isnan(params[0].grad.item())


def test_clipping_of_strided_gradients(rng):
    wide = dd2424.tensor(rng.normal(size=(6, 8))).cuda()
    exact = wide.cpu().numpy().copy()
    parameter = nn.Parameter(dd2424.zeros(6, 4, dtype=dd2424.float64, device="cuda"))
    parameter.grad = wide[:, ::2]
    norm = nn.utils.clip_grad_norm_([parameter], 1.0)
    assert_accurate(norm.cpu(), np.sqrt((exact[:, ::2] ** 2).sum()), 4)
    assert_accurate(parameter.grad.cpu(), exact[:, ::2] / (norm.item() + 1e-6), 4)


def test_a_step_copies_nothing_and_waits_for_nothing():
    for name, options in IN_ONE_LAUNCH:
        optimizer = make(name, options, "float32", "cuda", [(9, 5), (33,)])
        take_steps(optimizer, seed=9, count=2)
        before = dd2424.cuda.memory_allocated()
        optimizer.step()
        assert dd2424.cuda.memory_allocated() == before


@each_rule
def test_one_launch_counts_as_two_do(monkeypatch, name, options):
    """Parameters of several blocks, of one and of none; more of them than a launch has room for."""
    sizes = [(9, 1000), (), (5000,), (0,), *[(k % 3,) for k in range(60)]]
    optimizers = [make(name, options, "float32", "cuda", sizes) for _ in range(2)]
    take_steps(optimizers[0], seed=10)
    monkeypatch.setattr(type(optimizers[1]), "_counter_on", lambda *_: None, raising=False)
    take_steps(optimizers[1], seed=10)
    one, two = (optimizer.param_groups[0]["params"] for optimizer in optimizers)
    assert bits([p.detach().cpu() for p in one]) == bits([p.detach().cpu() for p in two])
    assert bits([s.cpu() for s in states(optimizers[0])]) == bits([s.cpu() for s in states(optimizers[1])])
    if name != "SGD":
        assert optimizers[0]._blocks_done.item() == 0
        assert all(optimizers[0].state[p]["step"].item() == 3 for p in one)


@each_rule
def test_a_captured_step_goes_on_where_the_eager_one_was(name, options):
    eager, replayed = (make(name, options, "float32", "cuda", [(9, 1000), (33,)]) for _ in range(2))
    for optimizer in (eager, replayed):
        take_steps(optimizer, seed=11, count=1)
    g = dd2424.cuda.CUDAGraph()
    with dd2424.cuda.graph(g):
        replayed.step()
    for _ in range(2):
        eager.step()
        g.replay()
    for a, b in zip(eager.param_groups[0]["params"], replayed.param_groups[0]["params"], strict=True):
        assert bits(a.detach().cpu()) == bits(b.detach().cpu())


def test_refusals():
    gpu, here = (parameters(np.random.default_rng(1), "float32", device, [(3,)]) for device in ("cuda", "cpu"))
    gradient, number = dd2424.ones(3), dd2424.zeros(())
    core: Any = dd2424._core
    for call, error, message in [
        (lambda: core.sgd_step(gpu, [gradient], [], 0.1), RuntimeError, "must be on one device"),
        (lambda: core.sgd_step(gpu, [gradient.cuda()], [], dd2424.ones(2)), ValueError, "lr must be a number"),
        (lambda: core.sgd_step(here, [gradient], [], number.cuda()), RuntimeError, "must be on one device"),
        (lambda: core.adaptive_step("adagrad", gpu, [gradient.cuda()], [[dd2424.zeros(3).cuda()]], [number], [], 0.1),
         RuntimeError, "must be on one device"),
        (lambda: core.adaptive_step("adagrad", here, [gradient], [[number.expand(3).clone()]], [number], [], 0.1,
                                    blocks_done=number), RuntimeError, "blocks_done must be a number of int32"),
        (lambda: core.clip_grad_norm([dd2424.ones(3, dtype=dd2424.bfloat16, device="cuda")], 1.0), RuntimeError,
         "gradients must be float32 or float64"),
    ]:  # fmt: skip
        with pytest.raises(error, match=message):
            call()
