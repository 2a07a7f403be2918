"""Modules: what they own, how it is walked, what may be assigned, how they look and are converted."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import bits
from dd2424 import Tensor, nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.scale = nn.Parameter(dd2424.ones(2))
        self.register_buffer("mean", dd2424.zeros(2))
        self.register_buffer("scratch", dd2424.zeros(1), persistent=False)
        self.tail = nn.Sequential(nn.ReLU(), nn.Linear(4, 2, bias=False))
        self.note = "no member"

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.first(x)) * self.scale  # type: ignore[no-any-return]


def test_members_are_found_in_order() -> None:
    net = Net()
    names = ["scale", "first.weight", "first.bias", "tail.1.weight"]
    assert [name for name, _ in net.named_parameters()] == names
    assert [id(p) for p in net.parameters()] == [id(net.get_parameter(name)) for name in names]
    assert [name for name, _ in net.named_parameters("net", recurse=False)] == ["net.scale"]
    assert [name for name, _ in net.named_buffers()] == ["mean", "scratch"]
    assert [name for name, _ in net.named_children()] == ["first", "tail"]
    assert [name for name, _ in net.named_modules()] == ["", "first", "tail", "tail.0", "tail.1"]
    assert len(list(net.modules())) == 5
    assert list(net.children()) == [net.first, net.tail]
    assert list(net._parameters) == ["scale"]
    assert net._modules["first"] is net.first
    assert net._buffers["mean"] is net.mean


def test_shared_members_are_given_once() -> None:
    net = nn.Module()
    net.a = nn.Linear(2, 2)
    net.b = net.a
    net.c = nn.Linear(2, 2)
    net.c.weight = net.a.weight
    assert [name for name, _ in net.named_parameters()] == ["a.weight", "a.bias", "c.bias"]
    every = [name for name, _ in net.named_parameters(remove_duplicate=False)]
    assert every == ["a.weight", "a.bias", "b.weight", "b.bias", "c.weight", "c.bias"]
    assert [name for name, _ in net.named_modules()] == ["", "a", "c"]
    assert [name for name, _ in net.named_children()] == ["a", "c"]
    assert list(net.state_dict()) == every, "a checkpoint has every name"


def test_assignment_keeps_kinds() -> None:
    net = Net()
    with pytest.raises(TypeError, match=r"cannot assign 'Tensor' object to parameter 'scale' \(nn.Parameter or None"):
        net.scale = dd2424.ones(2)
    with pytest.raises(TypeError, match=r"cannot assign 'int' object to child module 'first' \(nn.Module or None"):
        net.first = 3
    with pytest.raises(TypeError, match=r"cannot assign 'str' object to buffer 'mean' \(Tensor or None"):
        net.mean = "x"
    net.mean = dd2424.ones(2)
    assert list(net._buffers) == ["mean", "scratch"]
    net.scale = None
    assert [name for name, _ in net.named_parameters(recurse=False)] == []
    assert net.scale is None
    net.scale = nn.Parameter(dd2424.ones(1))
    assert list(net._parameters) == ["scale"]


def test_a_name_may_change_its_kind() -> None:
    net = nn.Module()
    net.x = 3
    net.x = nn.Parameter(dd2424.ones(1))
    assert list(net._parameters) == ["x"]
    net.x = nn.ReLU()
    assert list(net._parameters) == []
    assert list(net._modules) == ["x"]
    del net.x
    assert list(net._modules) == []
    with pytest.raises(AttributeError, match="'Module' object has no attribute 'x'"):
        _ = net.x
    with pytest.raises(AttributeError):
        del net.x


def test_buffers_as_attributes() -> None:
    net = nn.Module()
    net.kept = nn.Buffer(dd2424.ones(1))
    net.passing = nn.Buffer(dd2424.ones(1), persistent=False)
    assert list(net._buffers) == ["kept", "passing"]
    assert list(net.state_dict()) == ["kept"]


def test_members_before_init_are_refused() -> None:
    class Early(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.ReLU()

    with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
        Early()


@pytest.mark.parametrize("register", ["register_parameter", "register_buffer", "add_module", "register_module"])
def test_registration_refuses_bad_names(register: str) -> None:
    net = nn.Module()
    with pytest.raises(TypeError, match="name should be a string"):
        getattr(net, register)(3, None)
    with pytest.raises(KeyError, match="must not be empty or contain a dot"):
        getattr(net, register)("a.b", None)
    with pytest.raises(KeyError, match="must not be empty"):
        getattr(net, register)("", None)
    with pytest.raises(KeyError, match="attribute 'forward' already exists"):
        getattr(net, register)("forward", None)
    with pytest.raises(TypeError, match="cannot assign"):
        getattr(net, register)("x", "text")
    with pytest.raises(ValueError, match="must be a leaf"):
        net.register_parameter("p", nn.Parameter(dd2424.ones(1)) * 2)


def test_members_by_dotted_name() -> None:
    net = Net()
    assert net.get_submodule("tail.1") is net.tail[1]
    assert net.get_submodule("") is net
    assert net.get_buffer("mean") is net.mean
    with pytest.raises(AttributeError, match="Sequential has no attribute `9`"):
        net.get_submodule("tail.9")
    with pytest.raises(AttributeError, match="Net has no parameter `mean`"):
        net.get_parameter("mean")
    with pytest.raises(AttributeError, match="Net has no buffer `scale`"):
        net.get_buffer("scale")


def test_modes_and_freezing() -> None:
    net = Net()
    assert net.training
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    assert net.train().tail[0].training
    with pytest.raises(ValueError, match="train: mode must be a bool, got 1"):
        net.train(1)  # type: ignore[arg-type]
    assert net.requires_grad_(False) is net
    assert not any(p.requires_grad for p in net.parameters())


def test_gradients_are_dropped_or_cleared() -> None:
    net = Net()
    net(dd2424.ones(1, 3)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert all(not p.grad.numpy().any() for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_apply_visits_children_first() -> None:
    net, seen = Net(), []
    assert net.apply(lambda module: seen.append(type(module).__name__)) is net
    assert seen == ["Linear", "ReLU", "Linear", "Sequential", "Net"]


CONVERSIONS = [
    lambda m: m.double(),
    lambda m: m.to(dd2424.float64),
    lambda m: m.to(dtype=dd2424.float64),
    lambda m: m.to("cpu", dd2424.float64),
    lambda m: m.to(dd2424.ones(1, dtype=dd2424.float64)),
]


@pytest.mark.parametrize("convert", CONVERSIONS)
def test_conversion_keeps_the_parameters(convert: Any) -> None:
    net = Net()
    net.register_buffer("count", dd2424.zeros((), dtype=dd2424.int64))
    before, weight = list(net.parameters()), net.first.weight.detach().clone()
    net(dd2424.ones(1, 3)).sum().backward()
    assert convert(net) is net
    assert all(a is b for a, b in zip(before, net.parameters(), strict=True))
    assert {p.dtype for p in net.parameters()} == {dd2424.float64}
    assert net.first.weight.grad.dtype == net.mean.dtype == dd2424.float64
    assert net.count.dtype == dd2424.int64
    assert bits(net.first.weight) == bits(weight.double())


def test_other_conversions() -> None:
    net = nn.Linear(2, 1)
    assert net.bfloat16().weight.dtype == dd2424.bfloat16
    assert net.half().weight.dtype == dd2424.float16
    assert net.float().weight.dtype == dd2424.float32
    assert net.type(dd2424.float64).weight.dtype == dd2424.float64
    assert net.cpu() is net
    assert net.to("cpu") is net
    with pytest.raises(TypeError, match=r"to: dtype must be floating-point, got .*int64"):
        net.to(dd2424.int64)
    with pytest.raises(TypeError, match="unexpected keyword argument 'dtyp'"):
        net.to(dtyp=dd2424.float64)


def test_deepcopy_keeps_what_is_shared() -> None:
    net = Net()
    net.again = net.first
    other = copy.deepcopy(net)
    assert other.first is not net.first
    assert other.again is other.first
    assert bits(list(other.parameters())) == bits(list(net.parameters()))
    with dd2424.no_grad():
        other.scale.zero_()
    assert net.scale.tolist() == [1, 1]
    assert list(other.state_dict()) == list(net.state_dict())
    assert isinstance(other.scale, nn.Parameter)


def test_pickle_round_trip() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    other = pickle.loads(pickle.dumps(model))
    assert bits(list(other.state_dict().values())) == bits(list(model.state_dict().values()))
    assert other[0].weight.requires_grad


def test_repr() -> None:
    assert repr(Net()) == (
        "Net(\n  (first): Linear(in_features=3, out_features=4, bias=True)\n  (tail): Sequential(\n"
        "    (0): ReLU()\n    (1): Linear(in_features=4, out_features=2, bias=False)\n  )\n)"
    )
    assert repr(nn.Module()) == "Module()"
    assert repr(nn.Parameter(dd2424.zeros(1))).startswith("Parameter containing:\n")


def test_calling_what_has_no_forward() -> None:
    with pytest.raises(NotImplementedError, match="Module: a module must define forward"):
        nn.Module()(1)


def test_dir_names_members() -> None:
    names = dir(Net())
    assert {"first", "scale", "mean", "forward"} <= set(names)
    assert all(name.isidentifier() for name in names)


def test_parameters() -> None:
    data = dd2424.ones(3)
    p = nn.Parameter(data)
    assert isinstance(p, Tensor)
    assert p.requires_grad
    assert p.is_leaf
    assert p.data_ptr() == data.data_ptr(), "memory is shared"
    assert not nn.Parameter(data, requires_grad=False).requires_grad
    assert nn.Parameter().shape == (0,)
    assert type(p * 2) is Tensor
    copied = copy.deepcopy(p)
    assert type(copied) is nn.Parameter
    assert copied.data_ptr() != p.data_ptr()
    np.testing.assert_array_equal(copied.detach().numpy(), [1, 1, 1])
