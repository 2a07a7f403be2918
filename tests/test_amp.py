"""Mixed precision: which dtype an operation takes, that gradients keep theirs, and how a loss is scaled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import bits
from dd2424 import Tensor, nn
from dd2424.amp import GradScaler, autocast, custom_bwd, custom_fwd
from dd2424.nn import functional as F

BF16, F32 = dd2424.bfloat16, dd2424.float32


def randn(rng: np.random.Generator, *shape: int) -> Tensor:
    return dd2424.from_numpy(rng.standard_normal(shape).astype(np.float32))


# fmt: off
OPERATIONS: list[tuple[str, Callable[[Tensor, Tensor], Any], dd2424.dtype]] = [
    ("matmul", lambda x, y: x @ y, BF16), ("linear", F.linear, BF16),
    ("conv2d", lambda x, y: F.conv2d(x[None, None], y[None, None]), BF16),
    ("conv_transpose1d", lambda x, y: F.conv_transpose1d(x[None], y[:, :, None]), BF16),
    ("attention", lambda x, y: F.scaled_dot_product_attention(x[None], y[None], y[None]), BF16),
    ("softmax", lambda x, y: F.softmax(x.bfloat16(), 1), F32),
    ("cross_entropy", lambda x, y: F.cross_entropy(x.bfloat16(), y.bfloat16().softmax(1)), F32),
    ("layer_norm", lambda x, y: F.layer_norm(x.bfloat16(), (4,)), F32), ("exp", lambda x, y: x.bfloat16().exp(), F32),
    ("sum", lambda x, y: x.bfloat16().sum(0), F32), ("relu", lambda x, y: F.relu(x.bfloat16()), BF16),
    ("add", lambda x, y: x.bfloat16() + y, F32), ("of bytes", lambda x, y: x.to(dd2424.int64) + 1, dd2424.int64),
    ("add_layer_norm", lambda x, y: F.add_layer_norm(x @ x, y, (4,), y[0])[0], F32),
    ("add_rms_norm", lambda x, y: F.add_rms_norm(x @ x, (x @ x), (4,), y[0])[0], F32),
    ("batch_norm", lambda x, y: F.batch_norm(x.bfloat16(), y[0], y[1].exp()), BF16),
    ("of float64", lambda x, y: x.double() @ y.double(), dd2424.float64),
]
# fmt: on


@pytest.mark.parametrize(("name", "operation", "dtype"), OPERATIONS)
def test_the_dtype_that_each_operation_takes(
    rng: np.random.Generator, name: str, operation: Callable[..., Any], dtype: dd2424.dtype
) -> None:
    x, y = randn(rng, 4, 4), randn(rng, 4, 4)
    with autocast("cpu"):
        assert operation(x, y).dtype == dtype
    with autocast("cpu", enabled=False):
        outside = operation(x, y)
    assert bits(outside) == bits(operation(x, y))


def test_a_product_is_that_of_the_rounded_operands(rng: np.random.Generator) -> None:
    layer, x = nn.Linear(5, 3), randn(rng, 4, 5).requires_grad_()
    with autocast("cpu"):
        y = layer(x)
    y.float().square().sum().backward()
    got = [bits(y), *(bits(p.grad) for p in (layer.weight, layer.bias, x) if p.grad is not None)]
    leaves = [t.detach().requires_grad_() for t in (layer.weight, layer.bias, x)]
    weight, bias, rows = (t.bfloat16() for t in leaves)
    z = F.linear(rows, weight, bias)
    z.float().square().sum().backward()
    assert got == [bits(z), *(bits(t.grad) for t in leaves if t.grad is not None)]
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == F32


def test_a_walk_back_inside_is_the_walk_outside(rng: np.random.Generator) -> None:
    net, x = nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 2)), randn(rng, 3, 6)
    gradients = []
    for inside in (True, False):
        net.zero_grad()
        with autocast("cpu"):
            loss = F.cross_entropy(net(x), dd2424.tensor([0, 1, 1]))
            if inside:
                loss.backward()
        if not inside:
            loss.backward()
        gradients.append([bits(p.grad) for p in net.parameters() if p.grad is not None])
    assert gradients[0] == gradients[1]
    assert len(gradients[0]) == 6


def test_the_innermost_decides(rng: np.random.Generator) -> None:
    x = randn(rng, 2, 2)
    with autocast("cpu"):
        assert dd2424.is_autocast_enabled("cpu")
        with autocast("cpu", enabled=False):
            assert not dd2424.is_autocast_enabled("cpu")
            assert (x @ x).dtype == F32
            with autocast("cpu"):
                assert (x @ x).dtype == BF16
        assert (x @ x).dtype == BF16
    assert not dd2424.is_autocast_enabled("cpu")
    assert dd2424.get_autocast_dtype("cpu") == BF16


def test_an_error_leaves_the_block(rng: np.random.Generator) -> None:
    with pytest.raises(RuntimeError, match="matmul"), autocast("cpu"):
        randn(rng, 2, 3) @ randn(rng, 2, 3)
    assert not dd2424.is_autocast_enabled("cpu")


@pytest.mark.parametrize(("caches", "conversions"), [(True, 0), (False, 1)])
def test_a_parameter_is_converted_once_until_it_changes(
    rng: np.random.Generator, caches: bool, conversions: int
) -> None:
    weight, x = nn.Parameter(randn(rng, 3, 4)), randn(rng, 2, 4).bfloat16()

    def kernels() -> int:
        before = dd2424.kernel_count()
        F.linear(x, weight)
        return dd2424.kernel_count() - before

    with autocast("cpu", cache_enabled=caches):
        first = kernels()
        assert kernels() == first - 1 + conversions
        with dd2424.no_grad():
            weight.mul_(2)
            assert kernels() == first
        assert kernels() == first, "recorded this time"
        assert bits(F.linear(x, weight)) == bits(F.linear(x, weight.detach().bfloat16()))


def test_two_losses_share_a_converted_parameter(rng: np.random.Generator) -> None:
    weight, x = nn.Parameter(randn(rng, 3, 4)), randn(rng, 2, 4)
    with autocast("cpu"):
        losses = [F.linear(x, weight).sum() for _ in range(2)]
    for loss in losses:
        loss.backward()
    once = nn.Parameter(weight.detach())
    F.linear(x.bfloat16(), once.bfloat16()).float().sum().backward()
    assert weight.grad is not None
    assert once.grad is not None
    assert bits(weight.grad) == bits(2 * once.grad)


def test_decorates_a_function(rng: np.random.Generator) -> None:
    @autocast("cpu")
    def product(x: Tensor) -> Tensor:
        """What it says."""
        return x @ x

    assert product(randn(rng, 2, 2)).dtype == BF16
    assert product.__doc__ == "What it says."


def test_a_function_of_ones_own_under_autocast(rng: np.random.Generator) -> None:
    seen: list[Any] = []

    class Product(dd2424.autograd.Function):
        @staticmethod
        @custom_fwd(device_type="cpu", cast_inputs=F32)
        def forward(ctx: Any, x: Tensor) -> Tensor:
            seen.append((x.dtype, (x @ x).dtype))
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @custom_bwd(device_type="cpu")
        def backward(ctx: Any, dy: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            seen.append((dy @ x).dtype)
            return 2 * x * dy

    x = randn(rng, 2, 2).requires_grad_()
    with autocast("cpu"):
        Product.apply(x.bfloat16()).sum().backward()
    assert seen == [(F32, F32), F32]
    assert x.grad is not None


def test_recurrent_layers_keep_their_state_in_the_weights_dtype(rng: np.random.Generator) -> None:
    layer, x = nn.LSTM(3, 4), randn(rng, 5, 2, 3)
    with autocast("cpu"):
        y, _ = layer(x.bfloat16())
        assert nn.GRUCell(3, 4)(x[0].bfloat16()).dtype == F32
    assert y.dtype == F32
    np.testing.assert_allclose(y.detach().numpy(), layer(x)[0].detach().numpy(), rtol=0, atol=4 * 2**-8)


def test_training_in_mixed_precision_learns(rng: np.random.Generator) -> None:
    dd2424.manual_seed(1)
    x = randn(rng, 64, 10)
    target = (x[:, 0] > x[:, 1]).long()
    net = nn.Sequential(nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 2))
    optimizer, losses = dd2424.optim.Adam(net.parameters(), lr=1e-2), []
    for _ in range(40):
        with autocast("cpu"):
            loss = F.cross_entropy(net(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    assert all(p.dtype == F32 for p in net.parameters())


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "autocast: dtype must be dd2424.bfloat16 on cpu, got dd2424.float16",
         lambda: autocast("cpu", dtype=dd2424.float16)),
        (RuntimeError, 'device must be "cpu"', lambda: autocast("tpu")),
        (ValueError, "device must be cpu or cuda, got tpu", lambda: dd2424.is_autocast_enabled("tpu")),
        (RuntimeError, "one must be entered before it is left", lambda: autocast("cpu").__exit__(None, None, None)),
        (ValueError, "growth_factor must be above 1", lambda: GradScaler("cpu", growth_factor=1.0)),
        (ValueError, "backoff_factor must lie between 0 and 1", lambda: GradScaler("cpu", backoff_factor=1.0)),
        (RuntimeError, "update must come after step", lambda: GradScaler("cpu").update()),
        (RuntimeError, "state_dict must not be empty", lambda: GradScaler("cpu").load_state_dict({})),
        (ValueError, "outputs must be tensors", lambda: GradScaler("cpu").scale("loss")),
    ],
)  # fmt: skip
def test_each_refusal(error: type[Exception], message: str, call: Callable[[], Any]) -> None:
    with pytest.raises(error, match=message):
        call()


def test_without_a_gpu_a_warning_and_nothing_else(rng: np.random.Generator) -> None:
    if dd2424.cuda.is_available():
        pytest.skip("there is a GPU")
    x = randn(rng, 2, 2)
    with pytest.warns(UserWarning, match="no GPU"), autocast("cuda"):
        assert (x @ x).dtype == F32
    with pytest.warns(UserWarning, match="no GPU"):
        scaler = GradScaler()
    assert not scaler.is_enabled()
    assert scaler.scale(x) is x
    assert scaler.state_dict() == {}


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_transformer_layer_adds_what_is_short_to_what_is_not(rng: np.random.Generator, norm_first: bool) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=norm_first)
    x = randn(rng, 2, 5, 8)
    with autocast("cpu"):
        y = layer(x)
    y.sum().backward()
    assert y.dtype == F32
    np.testing.assert_allclose(y.detach().numpy(), layer(x).detach().numpy(), atol=0.02)
    assert all(p.grad is not None and p.grad.dtype == F32 for p in layer.parameters())
