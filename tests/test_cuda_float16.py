"""float16 on a GPU, real or emulated: every family against the processor's float32 of the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from dd2424 import Tensor, nn, optim
from dd2424.nn import functional as F
from on_gpu import needs_gpu

pytestmark = needs_gpu

Function = Callable[..., Tensor]


def numbers(rng: np.random.Generator, *shape: int) -> Tensor:
    """Ones that float16 has."""
    return dd2424.tensor(rng.standard_normal(shape)).half().float()


def half_on_gpu(x: Tensor) -> Tensor:
    return x.detach().half().cuda().requires_grad_(x.requires_grad)


def assert_same(gpu: Tensor | None, here: Tensor | None, roundings: float, scale: Any = 1.0) -> None:
    assert gpu is not None
    assert here is not None
    assert gpu.is_cuda
    assert gpu.dtype == (dd2424.float16 if here.is_floating_point() else here.dtype)
    assert_accurate(gpu.detach().cpu().numpy(), here.detach().numpy().astype(np.float64), roundings, scale)


def check(function: Function, inputs: list[Tensor], roundings: float, rng: np.random.Generator) -> None:
    """Values and gradients: those of float32, rounded so often."""
    here = [x.detach().requires_grad_() for x in inputs]
    gpu = [half_on_gpu(x) for x in here]
    y, z = function(*here), function(*gpu)
    scale = float(y.detach().abs().max()) if y.is_floating_point() else 0
    assert_same(z, y, roundings, scale)
    if not y.requires_grad:
        return
    dy = numbers(rng, *y.shape)
    y.backward(dy)
    z.backward(half_on_gpu(dy))
    for a, b in zip(gpu, here, strict=True):
        if b.grad is not None:
            assert_same(a.grad, b.grad, roundings, max(1, float(b.grad.abs().max())))


UNARY: dict[str, Function] = {
    "relu": F.relu, "gelu": F.gelu, "silu": F.silu, "tanh": dd2424.tanh, "sigmoid": dd2424.sigmoid, "exp": dd2424.exp,
    "log": lambda x: dd2424.log(x.abs() + 0.5), "rsqrt": lambda x: dd2424.rsqrt(x * x + 0.5), "elu": F.elu,
    "softplus": F.softplus, "leaky_relu": F.leaky_relu, "clamp": lambda x: x.clamp(-1, 0.5), "square": dd2424.square,
    "abs": dd2424.abs, "glu": lambda x: F.glu(x[..., :32], -1), "neg": dd2424.neg, "add a number": lambda x: x + 1.5,
    "power": lambda x: (x.abs() + 0.5) ** 1.5, "compare": lambda x: x > 0.25, "isnan": lambda x: (x / 0 * 0).isnan(),
}  # fmt: skip
ROWS: dict[str, Function] = {
    "sum": lambda x: x.sum(1), "sum of columns": lambda x: x.sum(0), "mean": lambda x: x.mean(),
    "amax": lambda x: x.amax(1), "var": lambda x: x.var(1), "norm": lambda x: x.norm(dim=1),
    "argmax": lambda x: x.argmax(1), "logsumexp": lambda x: x.logsumexp(1), "cumsum": lambda x: x.cumsum(1),
    "cumprod": lambda x: x[:, :5].cumprod(1),
    "softmax": lambda x: F.softmax(x, 1), "log_softmax": lambda x: F.log_softmax(x, 0),
    "layer_norm": lambda x: F.layer_norm(x, (37,)), "rms_norm": lambda x: F.rms_norm(x, (37,)),
    "transposed": lambda x: x.t().contiguous(), "cat": lambda x: dd2424.cat([x, x[:3]]), "flip": lambda x: x.flip(0),
    "sort": lambda x: x.sort(1).values, "topk": lambda x: x.topk(3, 1).values, "tril": dd2424.tril,
    "roll": lambda x: x.roll(3),
    "gather": lambda x: x.gather(1, dd2424.tensor([[0, 3, 3]] * 11, device=x.device)),
    "rows": lambda x: x[dd2424.tensor([4, 0, 4, 9], device=x.device)],
    "masked": lambda x: dd2424.where(x > 0, x, -x), "cross_entropy": lambda x: F.cross_entropy(
        x, dd2424.arange(11, device=x.device)),
    "index_add": lambda x: x.index_add(0, dd2424.tensor([1, 1, 5], device=x.device), x[:3]),
}  # fmt: skip
IMAGES: dict[str, Function] = {
    "max_pool2d": lambda x: F.max_pool2d(x, 3, 2, 1), "avg_pool2d": lambda x: F.avg_pool2d(x, 2),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 1), "group_norm": lambda x: F.group_norm(x, 2),
    "instance_norm": F.instance_norm, "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "nearest": lambda x: F.interpolate(x, scale_factor=2), "pad": lambda x: F.pad(x, (1, 2, 0, 1), mode="reflect"),
    "unfold": lambda x: F.unfold(x, 3), "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
    "local_response_norm": lambda x: F.local_response_norm(x, 3),
    "grid_sample": lambda x: F.grid_sample(
        x, F.affine_grid(dd2424.eye(2, 3, dtype=x.dtype, device=x.device).expand(2, 2, 3) * 0.7, [2, 8, 4, 5])),
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_elementwise(rng, name):
    check(UNARY[name], [numbers(rng, 5, 67)], 3, rng)


@pytest.mark.parametrize("name", ROWS)
def test_rows(rng, name):
    check(ROWS[name], [numbers(rng, 11, 37)], 6, rng)


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("memory_format", ["contiguous_format", "channels_last"])
def test_images(rng, name, memory_format):
    x = numbers(rng, 2, 8, 7, 6).contiguous(memory_format=getattr(dd2424, memory_format))
    check(IMAGES[name], [x], 8, rng)


@pytest.mark.parametrize("function", [dd2424.add, dd2424.mul, dd2424.sub, dd2424.maximum, dd2424.atan2])
def test_two_operands(rng, function):
    check(function, [numbers(rng, 6, 1, 9), numbers(rng, 5, 9)], 4, rng)


@pytest.mark.parametrize("shape", [(72, 48, 40), (33, 70, 37), (3, 33, 260), (80, 36, 520), (600, 118, 3)], ids=str)
@pytest.mark.parametrize("turned", [False, True])
def test_products(rng, shape, turned):
    m, n, k = shape
    a, b = numbers(rng, m, k), numbers(rng, k, n)
    check(dd2424.matmul, [a, b.t().contiguous().t() if turned else b], 3, rng)


def test_linear_with_a_bias(rng):
    check(F.linear, [numbers(rng, 20, 72), numbers(rng, 40, 72), numbers(rng, 40)], 3, rng)


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "3x3": ((2, 16, 9, 8), (24, 16, 3, 3), {"padding": 1}),
    "stride 2": ((2, 16, 9, 8), (8, 16, 3, 3), {"padding": 1, "stride": 2}),
    "of images": ((2, 3, 12, 11), (16, 3, 5, 5), {}),
    "1x1": ((2, 16, 8, 8), (24, 16, 1, 1), {}),
    "depthwise": ((2, 16, 9, 8), (16, 1, 3, 3), {"padding": 1, "groups": 16}),
    "groups": ((2, 6, 9, 8), (9, 2, 3, 3), {"groups": 3}),
    "few outputs": ((2, 24, 9, 8), (2, 24, 3, 3), {"padding": 1}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("memory_format", ["contiguous_format", "channels_last"])
def test_convolutions(rng, name, memory_format):
    of_x, of_weight, options = CONVOLUTIONS[name]
    x = numbers(rng, *of_x).contiguous(memory_format=getattr(dd2424, memory_format))
    check(lambda x, w: F.conv2d(x, w, **options), [x, numbers(rng, *of_weight)], 4, rng)


def test_transposed_convolution(rng):
    inputs = [numbers(rng, 2, 8, 5, 4), numbers(rng, 8, 16, 3, 3), numbers(rng, 16)]
    check(lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2), inputs, 4, rng)


@pytest.mark.parametrize(("queries", "features", "is_causal"), [
    (70, 16, True), (70, 64, False), (67, 72, False), (1, 64, False), (3, 16, True),
])  # fmt: skip
def test_attention(rng, queries, features, is_causal):
    q = numbers(rng, 1, 2, queries, features)
    k, v = numbers(rng, 1, 2, 70, features), numbers(rng, 1, 2, 70, features)
    check(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=is_causal), [q, k, v], 4, rng)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_what_attention_hides_may_be_anything(rng, value):
    q, k, v = (numbers(rng, 1, 1, 70, 16) for _ in range(3))
    seen = dd2424.ones(70, 70, dtype=dd2424.bool).tril()
    exact = F.scaled_dot_product_attention(q, k, v, seen)
    v[0, 0, 69, 3] = value  # the last row alone sees it
    y = F.scaled_dot_product_attention(*(half_on_gpu(x) for x in (q, k, v)), seen.cuda())
    assert_same(y[:, :, :69], exact[:, :, :69], 4)
    np.testing.assert_equal(y[0, 0, 69, 3].item(), value)


def test_attention_with_dropout_and_with_an_added_mask(rng):
    q, k, v, mask = numbers(rng, 1, 2, 9, 16), numbers(rng, 1, 2, 9, 16), numbers(rng, 1, 2, 9, 16), numbers(rng, 9, 9)
    check(lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m), [q, k, v, mask], 6, rng)
    dropped = F.scaled_dot_product_attention(*(half_on_gpu(x) for x in (q, k, v)), dropout_p=0.5)
    assert dropped.dtype == dd2424.float16


def test_embedding_and_recurrent_layers(rng):
    tokens = dd2424.tensor([[1, 4, 4], [0, 2, 1]])
    check(lambda w: F.embedding(tokens.to(w.device), w), [numbers(rng, 5, 16)], 3, rng)
    layer = nn.LSTM(6, 8)
    x = numbers(rng, 4, 3, 6)
    for p in layer.parameters():
        p.data = p.data.half().float()
    exact = layer(x)[0]
    assert_same(layer.half().cuda()(half_on_gpu(x))[0], exact, 2)


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop])
def test_a_step(rng, make):
    start, slope = numbers(rng, 300), numbers(rng, 300)
    here, gpu = nn.Parameter(start.clone()), nn.Parameter(half_on_gpu(start))
    here.grad, gpu.grad = slope.clone(), half_on_gpu(slope)
    for p in (here, gpu):
        make([p], lr=0.01).step()
    assert_same(gpu, here, 2)


def test_random_numbers_are_those_of_the_type(rng):
    x = dd2424.empty(40_000, dtype=dd2424.float16, device="cuda").uniform_(-1, 1).cpu().numpy().astype(np.float64)
    assert -1 <= x.min() < -0.99
    assert 0.99 < x.max() < 1
    y = dd2424.randn(4000, dtype=dd2424.float16, device="cuda").cpu().numpy().astype(np.float64)
    assert abs(y.mean()) < 0.1
    assert abs(y.std() - 1) < 0.1
    dropped = F.dropout(dd2424.ones(4000, dtype=dd2424.float16, device="cuda"), 0.25).cpu().numpy()
    assert set(np.unique(dropped).tolist()) == {0.0, float(np.float16(1 / 0.75))}


def test_norms_are_those_of_numbers_whose_squares_are_too_large(rng):
    x = dd2424.full((3, 40), 300.0, dtype=dd2424.float16, device="cuda")
    assert_accurate(x.norm(dim=1).cpu().numpy(), np.full(3, 300 * 40**0.5), 1)
    assert_accurate(F.normalize(x, dim=1).cpu().numpy(), np.full((3, 40), 40**-0.5), 1)
    y = (x * 0).requires_grad_()
    with dd2424.autocast("cuda"):
        loss = F.mse_loss(x, y)
    assert loss.item() == pytest.approx(90_000)


def test_training_under_autocast_learns(rng):
    """float16 is what a GPU takes unasked; the scaler keeps small gradients."""
    images, labels = numbers(rng, 16, 1, 8, 8).cuda(), dd2424.tensor(rng.integers(0, 4, 16)).cuda()
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                        nn.Linear(128, 4)).cuda()  # fmt: skip
    optimizer, scaler, losses = optim.Adam(net.parameters(), lr=0.03), dd2424.amp.GradScaler("cuda"), []
    for _ in range(10):
        optimizer.zero_grad()
        with dd2424.autocast("cuda"):
            scores = net(images)
            loss = F.cross_entropy(scores, labels)
        assert scores.dtype == dd2424.float16
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_the_processor_computes_nothing_in_it():
    with pytest.raises(RuntimeError, match=r"float16 is for storage on the CPU: convert it with .float\(\) or"):
        dd2424.ones(3, dtype=dd2424.float16) + 1
