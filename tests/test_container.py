"""Containers: sequences, lists and dictionaries of modules and of parameters."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import nn


def layers(count: int) -> list[nn.Linear]:
    return [nn.Linear(1, 1) for _ in range(count)]


def names(container: nn.Module) -> list[str]:
    return [name for name, _ in container.named_children()]


def test_sequential_runs_in_order() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    x = dd2424.randn(4, 2)
    np.testing.assert_array_equal(net(x).detach().numpy(), net[2](net[1](net[0](x))).detach().numpy())
    assert nn.Sequential()(x) is x


def test_sequential_of_names() -> None:
    a, b = layers(2)
    net = nn.Sequential(OrderedDict([("first", a), ("second", b)]))
    assert names(net) == ["first", "second"]
    assert net.first is net[0] is a
    part = net[1:]
    assert isinstance(part, nn.Sequential)
    assert names(part) == ["second"]
    assert part[0] is b


@pytest.mark.parametrize("kind", [nn.Sequential, nn.ModuleList])
def test_numbered_containers_are_lists(kind: Any) -> None:
    a, b, c, d = layers(4)
    box = kind(a, b) if kind is nn.Sequential else kind([a, b])
    assert len(box) == 2
    assert list(box) == [a, b]
    assert a in box
    assert c not in box
    assert box.append(c) is box
    assert list(box.insert(0, d)) == [d, a, b, c]
    assert names(box) == ["0", "1", "2", "3"]
    assert box[-1] is c
    assert list(box[1:3]) == [a, b]
    assert type(box[1:3]) is kind
    box[1] = d
    assert list(box) == [d, d, b, c]
    del box[0]
    assert list(box) == [d, b, c]
    assert names(box) == ["0", "1", "2"]
    del box[1:]
    assert list(box) == [d]
    assert list(box.extend([a, b])) == [d, a, b]
    assert box.pop(0) is d
    assert list(box) == [a, b]
    for index in (2, -3):
        with pytest.raises(IndexError, match=f"index {index} is out of range"):
            box[index]
    with pytest.raises(TypeError):
        box["0"]
    with pytest.raises(TypeError, match="cannot assign 'int' object to child module"):
        box.append(3)


def test_lists_of_modules_add_up() -> None:
    a, b, c = layers(3)
    box = nn.ModuleList([a])
    assert list(box + [b]) == [a, b]  # the operator is what is tested
    box += [c]
    assert list(box) == [a, c]
    assert len(nn.ModuleList()) == 0
    assert [name for name, _ in box.named_parameters()] == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_a_module_twice_in_a_sequence() -> None:
    a, b = layers(2)
    net = nn.Sequential(a, b, a)
    assert len(net) == 3
    assert list(net) == [a, b, a]
    assert len(list(net.parameters())) == 4
    assert len(net[0:3]) == 3
    assert list(net[0:3]) == [a, b, a]


def test_dictionaries_of_modules() -> None:
    a, b, c = layers(3)
    box = nn.ModuleDict({"a": a, "b": b})
    box["c"] = c
    assert list(box) == list(box.keys()) == ["a", "b", "c"]
    assert list(box.values()) == [a, b, c]
    assert dict(box.items()) == {"a": a, "b": b, "c": c}
    assert box["b"] is box.b is b
    assert "a" in box
    assert len(box) == 3
    box.update([("a", c)])
    assert box["a"] is c
    assert box.pop("a") is c
    del box["b"]
    assert names(box) == ["c"]
    with pytest.raises(KeyError):
        box["a"]
    box.clear()
    assert len(box) == 0
    with pytest.raises(TypeError, match="cannot assign"):
        box["x"] = 3


def test_lists_of_parameters() -> None:
    values = [dd2424.ones(2), nn.Parameter(dd2424.zeros(3)), "text"]
    box = nn.ParameterList(values)
    assert len(box) == 3
    assert isinstance(box[0], nn.Parameter)
    assert box[1] is values[1]
    assert box[-1] == "text"
    assert [name for name, _ in box.named_parameters()] == ["0", "1"]
    assert list(box.append(dd2424.ones(1)))[3].shape == (1,)
    assert list(box.extend([dd2424.ones(4)]))[4].shape == (4,)
    box[0] = dd2424.ones(5)
    assert box[0].shape == (5,)
    assert [p.shape[0] for p in box[3:]] == [1, 4]
    with pytest.raises(IndexError, match="index 5 is out of range"):
        box[5]


def test_dictionaries_of_parameters() -> None:
    box = nn.ParameterDict({"a": dd2424.ones(2)})
    box["b"] = nn.Parameter(dd2424.zeros(1))
    box.update({"c": dd2424.ones(3)})
    assert list(box) == list(box.keys()) == ["a", "b", "c"]
    assert [p.shape[0] for p in box.values()] == [2, 1, 3]
    assert [name for name, _ in box.items()] == ["a", "b", "c"]
    assert isinstance(box["a"], nn.Parameter)
    assert box.a is box["a"]
    assert [name for name, _ in box.named_parameters()] == ["a", "b", "c"]
    assert box.get("x", 7) == 7
    assert box.pop("a").shape == (2,)
    del box["b"]
    assert "b" not in box
    assert len(box) == 1
    with pytest.raises(KeyError):
        box["b"]
    assert box.setdefault("d", dd2424.ones(1)).shape == (1,)
    other = box | nn.ParameterDict({"e": dd2424.ones(1)})
    assert list(other) == ["c", "d", "e"]
    assert box.copy()["c"] is box["c"]
    assert box.popitem()[0] == "d"
    assert list(reversed(nn.ParameterDict({"p": dd2424.ones(1), "q": dd2424.ones(1)}))) == ["q", "p"]
    assert list(nn.ParameterDict().fromkeys(["x", "y"], dd2424.ones(1))) == ["x", "y"]
    box.clear()
    assert len(box) == 0


def test_equal_neighbours_are_written_once() -> None:
    text = repr(nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Tanh()]))
    assert text == "ModuleList(\n  (0-1): 2 x ReLU()\n  (2): Tanh()\n)"
