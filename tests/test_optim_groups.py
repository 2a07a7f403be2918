"""What every optimizer does around its rule: groups, state, missing gradients, hooks, refusals."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import bits
from dd2424 import Tensor, nn, optim

NAMES = ["SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad", "Adadelta", "Rprop", "ASGD"]
MOMENTUM = {"SGD": {"momentum": 0.9}, "RMSprop": {"momentum": 0.9}}


def make(name: str, params: Any, **options: Any) -> optim.Optimizer:
    return getattr(optim, name)(params, **{**MOMENTUM.get(name, {}), **options})  # type: ignore[no-any-return]


def parameter(*values: float) -> nn.Parameter:
    return nn.Parameter(dd2424.tensor(values, dtype=dd2424.float32))


def give(p: nn.Parameter, *values: float) -> None:
    p.grad = dd2424.tensor(values, dtype=dd2424.float32)


def run(optimizer: optim.Optimizer, params: list[nn.Parameter], first: int, last: int) -> None:
    for step in range(first, last):
        for number, p in enumerate(params):
            p.grad = dd2424.from_numpy(np.sin(np.arange(p.numel(), dtype=np.float32) + step + 10 * number))
        optimizer.step()


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_without_gradient_stays(name: str) -> None:
    p, q = parameter(1, 2), parameter(3)
    optimizer = make(name, [p, q])
    optimizer.step()
    assert p.tolist() == [1, 2], "no gradient at all is no error"
    give(p, 1, 1)
    optimizer.step()
    assert p.tolist() != [1, 2]
    assert q.tolist() == [3]


@pytest.mark.parametrize("name", NAMES)
def test_groups_have_options_of_their_own(name: str) -> None:
    p, q, r = parameter(1, 2), parameter(1, 2), parameter(1, 2)
    both = make(name, [{"params": [p]}, {"params": q, "lr": 0.5}], lr=0.1)
    alone = make(name, [r], lr=0.5)
    assert [group["lr"] for group in both.param_groups] == [0.1, 0.5]
    for _ in range(3):
        for x in (p, q, r):
            give(x, 0.3, -0.4)
        both.step()
        alone.step()
    assert bits(q) == bits(r)
    assert bits(p) != bits(q)


@pytest.mark.parametrize("name", NAMES)
def test_added_groups_take_part(name: str) -> None:
    p, q = parameter(1), parameter(1)
    optimizer = make(name, [p], lr=0.1)
    optimizer.add_param_group({"params": [q], "lr": 0.1})
    give(p, 0.5), give(q, 0.5)
    optimizer.step()
    assert bits(p) == bits(q)
    assert p.tolist() != [1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [dd2424.float32, dd2424.float64])
def test_state_survives_a_round_trip(name: str, dtype: dd2424.dtype) -> None:
    def start() -> list[nn.Parameter]:
        layout = dd2424.ones(3, 4, dtype=dtype).T  # not contiguous: state is to follow
        return [nn.Parameter(dd2424.ones(5, dtype=dtype)), nn.Parameter(layout)]

    def steps(optimizer: optim.Optimizer, params: list[nn.Parameter], first: int, last: int) -> None:
        for step in range(first, last):
            for p in params:
                values = np.sin(np.arange(p.numel()) + step).reshape(p.shape)
                p.grad = dd2424.from_numpy(values).to(dtype)
            optimizer.step()

    whole = start()
    optimizer = make(name, whole, lr=0.1)
    steps(optimizer, whole, 0, 6)

    half = start()
    optimizer = make(name, half, lr=0.1)
    steps(optimizer, half, 0, 3)
    saved = copy.deepcopy(optimizer.state_dict())
    resumed = [nn.Parameter(p.detach().clone()) for p in half]
    other = make(name, resumed, lr=0.7)
    other.load_state_dict(saved)
    assert other.param_groups[0]["lr"] == 0.1
    steps(other, resumed, 3, 6)
    assert bits(resumed) == bits(whole)


def test_loaded_state_is_a_copy() -> None:
    p = parameter(1, 2)
    optimizer = optim.Adam([p])
    give(p, 1, 1)
    optimizer.step()
    saved = optimizer.state_dict()
    assert saved["param_groups"][0]["params"] == [0]
    other = optim.Adam([parameter(1, 2)])
    other.load_state_dict(saved)
    give(p, 5, 5)
    optimizer.step()
    assert float(other.state[other.param_groups[0]["params"][0]]["step"]) == 1


def test_loading_fills_in_options_that_the_file_lacks() -> None:
    optimizer = optim.Adam([parameter(1)], lr=0.3)
    saved = optimizer.state_dict()
    del saved["param_groups"][0]["decoupled_weight_decay"]
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["decoupled_weight_decay"] is False


@pytest.mark.parametrize("groups", [[{"params": [0]}, {"params": [1]}], [{"params": [0, 1]}]])
def test_loading_refuses_other_groups(groups: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match=r"load_state_dict: .* must have 1 parameter"):
        optim.SGD([parameter(1)]).load_state_dict({"state": {}, "param_groups": groups})


@pytest.mark.parametrize("name", NAMES)
def test_closure_computes_the_loss_with_recording_on(name: str) -> None:
    p = parameter(2.0)
    optimizer = make(name, [p])

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with dd2424.no_grad():
        assert float(optimizer.step(closure)) == 4
        assert not dd2424.is_grad_enabled()
    assert float(p.detach()) < 2


def test_zero_grad_drops_or_clears() -> None:
    p = parameter(1)
    optimizer = optim.SGD([p], lr=0.1)
    give(p, 5)
    gradient = p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is not None
    assert p.grad.tolist() == [0]
    assert gradient.tolist() == [0]
    optimizer.zero_grad()
    assert p.grad is None


def test_hooks_run_around_a_step() -> None:
    p, seen = parameter(1), []
    optimizer = optim.SGD([p], lr=0.25)
    before = optimizer.register_step_pre_hook(lambda *arguments: seen.append(("before", p.tolist())))
    optimizer.register_step_post_hook(lambda *arguments: seen.append(("after", p.tolist())))
    give(p, 10)
    optimizer.step()
    assert seen == [("before", [1.0]), ("after", [-1.5])]
    before.remove()
    optimizer.step()
    assert [name for name, _ in seen] == ["before", "after", "after"]


def test_named_parameters_are_remembered() -> None:
    model = nn.Linear(2, 1)
    optimizer = optim.SGD(model.named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert optimizer.param_groups[0]["params"][0] is model.weight


def test_repr_lists_groups_and_options() -> None:
    text = repr(optim.SGD([{"params": [parameter(1)]}, {"params": [parameter(2)], "lr": 0.5}], lr=0.25))
    assert text.startswith("SGD (\nParameter Group 0\n    dampening: 0.0\n")
    assert "\nParameter Group 1\n" in text
    assert "    lr: 0.5\n" in text


@pytest.mark.parametrize("name", NAMES)
def test_options_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: lr must be at least 0.0, got -1"):
        make(name, [parameter(1)], lr=-1)
    with pytest.raises(NotImplementedError, match="differentiable must be False"):
        make(name, [parameter(1)], differentiable=True)


# fmt: off
REFUSALS: list[tuple[str, dict[str, Any], str]] = [
    ("Adam", {"betas": (1.0, 0.9)}, r"Adam: betas\[0\] must be in \[0.0, 1.0\), got 1.0"),
    ("NAdam", {"betas": (0.9, -0.1)}, r"NAdam: betas\[1\]"),
    ("Adam", {"eps": -1.0}, "Adam: eps must be at least 0.0, got -1.0"),
    ("AdamW", {"weight_decay": -1.0}, "AdamW: weight_decay must be"),
    ("NAdam", {"momentum_decay": -1.0}, "NAdam: momentum_decay must be"),
    ("SGD", {"momentum": 0.0, "nesterov": True}, "nesterov needs momentum above 0"),
    ("SGD", {"momentum": 0.9, "dampening": 0.1, "nesterov": True}, "dampening 0, got"),
    ("RMSprop", {"momentum": -1.0}, "RMSprop: momentum must be"),
    ("Adagrad", {"lr_decay": -1.0}, "Adagrad: lr_decay must be"),
    ("Adadelta", {"rho": 1.1}, r"Adadelta: rho must be in \[0.0, 1.0\], got 1.1"),
    ("Rprop", {"etas": (1.5, 1.2)}, "Rprop: etas must be below and above 1"),
]
# fmt: on


@pytest.mark.parametrize(("name", "options", "message"), REFUSALS)
def test_each_refusal(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(optim, name)([parameter(1)], **options)


def test_what_is_no_parameter_is_refused() -> None:
    p = parameter(1)
    with pytest.raises(ValueError, match="at least one tensor"):
        optim.SGD([])
    with pytest.raises(TypeError, match="must be an iterable"):
        optim.SGD(p)
    with pytest.raises(TypeError, match="must be tensors, got float"):
        optim.SGD([1.0])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="must be leaves"):
        optim.SGD([p * 2])
    with pytest.raises(ValueError, match="must not name a tensor twice"):
        optim.SGD([{"params": [p]}, {"params": [p]}])
    with pytest.raises(ValueError, match="must not name a tensor twice"):
        optim.SGD([p, p])


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_what_no_kernel_takes_is_refused(name: str) -> None:
    op = "sgd_step" if name == "SGD" else "adaptive_step"
    half = nn.Parameter(dd2424.ones(2, dtype=dd2424.float16))
    half.grad = dd2424.ones(2, dtype=dd2424.float16)
    with pytest.raises(RuntimeError, match="float16 is for storage on the CPU"):
        make(name, [half]).step()
    gaps = nn.Parameter(dd2424.ones(4, 4)[:, ::2])
    gaps.grad = dd2424.ones(4, 2)
    with pytest.raises(RuntimeError, match=f"{op}: parameters must lie in memory without gaps"):
        make(name, [gaps]).step()
    values = np.ones(2, np.float32)
    values.flags.writeable = False
    fixed = nn.Parameter(dd2424.from_numpy(values))
    fixed.grad = dd2424.ones(2)
    with pytest.raises(RuntimeError, match=f"{op}: parameters must be writable"):
        make(name, [fixed]).step()


def test_state_of_another_shape_is_refused() -> None:
    p = parameter(1, 2)
    optimizer = optim.Adam([p])
    give(p, 1, 1)
    optimizer.step()
    optimizer.state[p]["exp_avg"] = dd2424.zeros(1)
    with pytest.raises(RuntimeError, match="adaptive_step: state must be laid out as its parameter"):
        optimizer.step()


def test_a_step_marks_the_parameter_as_written() -> None:
    x, p = dd2424.ones(1, requires_grad=True), parameter(1)
    y = (x * p).sum()
    give(p, 1)
    optim.SGD([p], lr=0.1).step()
    with pytest.raises(RuntimeError):
        y.backward()  # it needs p as it was
