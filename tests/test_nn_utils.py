"""Helpers: clipping of gradients, parameters as one vector."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import nn
from dd2424.nn import utils

SHAPES = [(3, 4), (7,), (), (129,)]


def parameters(rng: np.random.Generator, dtype: Any = np.float32, scale: float = 1.0) -> list[nn.Parameter]:
    made = []
    for shape in SHAPES:
        p = nn.Parameter(dd2424.from_numpy(np.zeros(shape, dtype)))
        p.grad = dd2424.from_numpy(np.asarray(scale * rng.standard_normal(shape), dtype))
        made.append(p)
    return [*made, nn.Parameter(dd2424.zeros(2))]  # the last has no gradient


def gradients(params: list[nn.Parameter]) -> list[Any]:
    return [p.grad.numpy().astype(np.float64).copy() for p in params if p.grad is not None]


def norm_of(grads: list[Any], p: float) -> float:
    return float(np.linalg.norm(np.concatenate([g.ravel() for g in grads]), p))


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clipping_by_norm(rng: np.random.Generator, isa: str, norm_type: float, max_norm: float, dtype: Any) -> None:
    params = parameters(rng, dtype)
    before = gradients(params)
    norm = norm_of(before, norm_type)
    total = utils.clip_grad_norm_(params, max_norm, norm_type)
    assert total.shape == ()
    assert_accurate(total, norm, roundings=8)
    for p, grad in zip(params, before, strict=False):
        assert_accurate(p.grad, grad * min(1.0, max_norm / (norm + 1e-6)), roundings=8)


def test_clipping_is_one_kernel_over_all_gradients(rng: np.random.Generator) -> None:
    params = parameters(rng)
    before = dd2424.kernel_count()
    utils.clip_grad_norm_(params, 1.0)
    assert dd2424.kernel_count() - before <= 2


def test_norms_neither_overflow_nor_vanish() -> None:
    for scale in (1e30, 1e-30):
        p = nn.Parameter(dd2424.zeros(2))
        p.grad = dd2424.tensor([3.0, 4.0]) * scale
        assert_accurate(utils.clip_grad_norm_([p], 1e38), 5 * scale, roundings=2)


def test_one_tensor_iterators_and_nothing(rng: np.random.Generator) -> None:
    params = parameters(rng)
    norm = norm_of(gradients(params)[:1], 2)
    assert_accurate(utils.clip_grad_norm_(params[0], 100.0), norm, roundings=4)
    assert utils.clip_grad_norm_((p for p in params), 100.0).item() > norm
    assert utils.clip_grad_norm_([], 1.0).item() == 0
    assert utils.clip_grad_norm_([params[-1]], 1.0).item() == 0


def test_gradients_of_other_dtypes(rng: np.random.Generator) -> None:
    params = [parameters(rng)[0], parameters(rng, np.float64)[1]]
    short = nn.Parameter(dd2424.zeros(3, dtype=dd2424.bfloat16))
    short.grad = dd2424.ones(3, dtype=dd2424.bfloat16)
    before = norm_of(gradients(params), 2)
    assert utils.clip_grad_norm_(params, 0.1).item() == pytest.approx(before, rel=1e-6)
    assert norm_of(gradients(params), 2) == pytest.approx(0.1, rel=1e-4)
    utils.clip_grad_norm_([short], 1.0)
    assert_accurate(short.grad, np.full(3, 1 / math.sqrt(3)), roundings=2)


def test_infinite_norms_are_refused_where_asked(rng: np.random.Generator) -> None:
    params = parameters(rng)
    params[0].grad[0, 0] = math.inf
    with pytest.raises(RuntimeError, match="clip_grad_norm_: the total norm must be finite, got inf"):
        utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert utils.clip_grad_norm_(params, 1.0).item() == math.inf


def test_clipping_in_two_steps(rng: np.random.Generator) -> None:
    params = parameters(rng)
    grads = gradients(params)
    total = utils.get_total_norm([p.grad for p in params if p.grad is not None])
    assert_accurate(total, norm_of(grads, 2), roundings=8)
    utils.clip_grads_with_norm_(params, 0.5, total)
    assert norm_of(gradients(params), 2) == pytest.approx(0.5, rel=1e-5)
    assert utils.get_total_norm([]).item() == 0


def test_clipping_by_value(rng: np.random.Generator) -> None:
    params = parameters(rng)
    before = gradients(params)
    utils.clip_grad_value_(params, 0.3)
    for p, grad in zip(params, before, strict=False):
        assert_accurate(p.grad, np.clip(grad, -np.float32(0.3), np.float32(0.3)), roundings=0)


def test_same_bits_for_any_threads(rng: np.random.Generator) -> None:
    values = rng.standard_normal(300_001).astype(np.float32)

    def run() -> Any:
        p = nn.Parameter(dd2424.zeros(300_001))
        p.grad = dd2424.from_numpy(values.copy())
        return utils.clip_grad_norm_([p], 1.0), p.grad

    same_for_any_threads(run)


def test_gradients_with_gaps(rng: np.random.Generator) -> None:
    p, q = nn.Parameter(dd2424.zeros(3, 4)), nn.Parameter(dd2424.zeros(3, 4))
    values = rng.standard_normal((3, 4)).astype(np.float32)
    p.grad = dd2424.from_numpy(values.copy())
    q.grad = dd2424.from_numpy(np.repeat(values, 2, 1))[:, ::2]
    assert bits(utils.clip_grad_norm_([p], 0.5)) == bits(utils.clip_grad_norm_([q], 0.5))
    assert bits(q.grad.contiguous()) == bits(p.grad)


CLIPPINGS: dict[str, Callable[[list[nn.Parameter]], object]] = {
    "2-norm": lambda params: utils.clip_grad_norm_(params, 1.0),
    "1-norm": lambda params: utils.clip_grad_norm_(params, 1.0, 1),
    "checked": lambda params: utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True),
    "in two steps": lambda params: utils.clip_grads_with_norm_(params, 1.0, dd2424.tensor(16.0)),
    "value": lambda params: utils.clip_grad_value_(params, 1.0),
}


@pytest.mark.parametrize("first", [dd2424.float32, dd2424.bfloat16], ids=str)
@pytest.mark.parametrize("clip", CLIPPINGS.values(), ids=CLIPPINGS)
def test_read_only_gradients_are_refused_before_any_is_scaled(
    clip: Callable[[Any], object], first: dd2424.dtype
) -> None:
    locked = np.full(3, 9, np.float32)
    locked.flags.writeable = False
    params = [nn.Parameter(dd2424.zeros(3, dtype=dtype)) for dtype in (first, dd2424.float32)]
    params[0].grad = dd2424.full((3,), 9.0, dtype=first)
    for grad, message in [
        (dd2424.from_numpy(locked), "writable, got one over read-only memory"),
        (dd2424.full((1,), 9.0).expand(3), "one place in memory per element"),
    ]:
        params[1].grad = grad
        with pytest.raises(RuntimeError, match=rf"clip_grads?_\w+: gradients must (be|have) {message}"):
            clip(params)
        assert [p.grad.tolist() for p in params] == [[9, 9, 9]] * 2


def test_a_norm_of_another_shape_is_refused() -> None:
    p = nn.Parameter(dd2424.zeros(3))
    p.grad = dd2424.full((3,), 9.0)
    with pytest.raises(RuntimeError, match=r"clip_grads_with_norm_: total_norm must be one number, got shape \(3,\)"):
        utils.clip_grads_with_norm_(p, 1.0, dd2424.ones(3))


def test_parameters_to_vector_and_back(rng: np.random.Generator) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    vector = utils.parameters_to_vector(model.parameters())
    assert vector.shape == (3 * 2 + 2 + 2 + 1,)
    assert vector.requires_grad
    expected = np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])
    np.testing.assert_array_equal(vector.detach().numpy(), expected)
    utils.vector_to_parameters(2 * vector.detach(), model.parameters())
    np.testing.assert_array_equal(utils.parameters_to_vector(model.parameters()).detach().numpy(), 2 * expected)
    assert all(isinstance(p, nn.Parameter) and p.is_leaf for p in model.parameters())
    with pytest.raises(RuntimeError, match=r"vector_to_parameters: vec must be \(11,\), got \(3,\)"):
        utils.vector_to_parameters(dd2424.zeros(3), model.parameters())
