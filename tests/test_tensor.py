"""The Tensor type: one Python object for each tensor, its attributes, subclasses, and the garbage collector."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import Tensor, nn
from dd2424.autograd import Function

# identity


def test_operations_in_place_return_the_same_object() -> None:
    x = dd2424.zeros(3)
    assert x.add_(1) is x
    assert x.fill_(2.0) is x
    assert x.copy_(dd2424.ones(3)) is x
    assert x.clamp_(0, 1) is x
    assert x.requires_grad_() is x
    assert x.to(dd2424.float32) is x
    assert x.contiguous() is x
    assert x.cpu() is x
    y = x.detach()
    y += 1
    assert +y is y


def test_cpp_hands_back_the_object_that_python_holds() -> None:
    x = dd2424.ones(3, requires_grad=True)
    (x * x).sum().backward()
    assert x.grad is x.grad
    assert x[0]._base is x
    node = (x * x).grad_fn
    assert node.next_functions[0][0].variable is x
    seen = []

    class Keep(Function):
        @staticmethod
        def forward(ctx: Any, t: Tensor) -> Tensor:
            ctx.save_for_backward(t)
            return t * 1

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Tensor:
            seen.append(ctx.saved_tensors[0])
            return dy

    Keep.apply(x).sum().backward()
    assert seen[0] is x


def test_attributes_survive_while_python_holds_the_tensor() -> None:
    x = dd2424.ones(3, requires_grad=True)
    x.note = "kept"
    x.grad = dd2424.zeros(3)
    grad = x.grad
    grad.note = "also kept"
    gc.collect()
    assert x.note == "kept"
    assert x.grad is grad
    assert x.grad.note == "also kept"
    x.__dict__["other"] = 1
    assert x.other == 1
    del x.note
    assert not hasattr(x, "note")


def test_tensors_are_hashed_by_identity() -> None:
    x, y = dd2424.ones(2), dd2424.ones(2)
    table = {x: "x", y: "y"}
    assert table[x] == "x"
    assert table[y] == "y"
    assert len({x, y, x}) == 2
    assert any(x is t for t in table)


def test_weak_references() -> None:
    x = dd2424.ones(2)
    died: list[str] = []
    reference = weakref.ref(x, lambda _: died.append("x"))
    assert reference() is x
    del x
    assert reference() is None
    assert died == ["x"]
    table = weakref.WeakKeyDictionary({(y := dd2424.ones(1)): 1})
    assert len(table) == 1
    del y
    assert len(table) == 0


class Last:  # calls a function when it dies
    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call

    def __del__(self) -> None:
        self.call()


@pytest.mark.parametrize("way", ["weak reference", "attribute"])
def test_what_runs_while_an_object_dies_gets_another(way: str) -> None:
    w = dd2424.ones(3, requires_grad=True)
    (w * 2).sum().backward()
    kept: list[Tensor] = []
    dying = w.grad
    if way == "attribute":
        dying.last = Last(lambda: kept.append(w.grad))
    else:
        weakref.finalize(dying, lambda: kept.append(w.grad))
    del dying
    assert kept[0] is w.grad
    others = [dd2424.zeros(2) for _ in range(300)]  # in objects that are used again
    assert all(kept[0] is not other for other in others)
    kept.clear()
    assert w.grad.tolist() == [2, 2, 2]


def test_a_new_tensor_does_not_inherit_a_dead_ones_attributes() -> None:
    """Objects are used again: nothing of their last life may show."""
    for _ in range(300):
        x = dd2424.ones(1)
        assert not x.__dict__
        x.mark = 1
        x.requires_grad_()
        del x


# subclasses


class Named(Tensor):
    """A subclass of a user."""

    def shout(self) -> str:
        return f"{self.name}!"


def test_a_subclass_keeps_its_class_and_attributes() -> None:
    x = Named(dd2424.ones(3))
    x.name = "weights"
    assert isinstance(x, Tensor)
    assert x.shout() == "weights!"
    x.requires_grad_()
    (x * 2).sum().backward()
    assert type(x[0]._base) is Named
    assert (x * 2).grad_fn.next_functions[0][0].variable is x
    assert type(x * 2) is Tensor
    assert x.grad.tolist() == [2, 2, 2]


def test_parameters() -> None:
    p = nn.Parameter(dd2424.ones(2, 3))
    assert p.requires_grad
    assert p.is_leaf
    assert isinstance(p, nn.Parameter)
    assert isinstance(p, Tensor)
    assert not nn.Parameter(dd2424.ones(1), requires_grad=False).requires_grad
    assert "Parameter containing:" in repr(p)
    assert type(copy.deepcopy(p)) is nn.Parameter
    restored = pickle.loads(pickle.dumps(p))
    assert type(restored) is nn.Parameter
    assert restored.requires_grad
    p.data = dd2424.zeros(4)
    assert p.shape == (4,)
    with dd2424.no_grad():
        assert p.add_(1) is p


# garbage


def freed(make: Any) -> bool:
    """Whether the collector frees what `make` left behind; it returns what to watch."""
    gc.collect()
    watched = weakref.ref(make())
    gc.collect()
    return watched() is None


def test_a_cycle_through_attributes_is_freed() -> None:
    def make() -> Tensor:
        x = dd2424.ones(2)
        x.me = x
        return x

    assert freed(make)


def test_a_cycle_through_a_hook_on_a_leaf_is_freed() -> None:
    def make() -> Tensor:
        x = dd2424.ones(2, requires_grad=True)
        x.register_hook(lambda grad: grad * x)
        return x

    assert freed(make)


def test_a_cycle_through_a_hook_on_an_inner_tensor_is_freed() -> None:
    def make() -> Tensor:
        y = dd2424.ones(2, requires_grad=True) * 2
        y.register_hook(lambda grad: grad * y)
        return y

    assert freed(make)


def test_a_cycle_through_a_post_accumulate_hook_is_freed() -> None:
    def make() -> Tensor:
        x = dd2424.ones(2, requires_grad=True)
        x.register_post_accumulate_grad_hook(lambda t: x.zero_())
        return x

    assert freed(make)


def test_a_cycle_through_a_node_hook_is_freed() -> None:
    def make() -> Tensor:
        y = dd2424.ones(2, requires_grad=True) * 2
        y.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] * y, None))
        return y

    assert freed(make)


class Double(Function):
    """Keeps whatever it is told to."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        return dy * 2


def test_a_cycle_through_a_function_context_is_freed() -> None:
    def make() -> Tensor:
        kept: list[Any] = []

        class Cycle(Double):
            @staticmethod
            def forward(ctx: Any, x: Tensor) -> Tensor:
                kept.append(ctx)
                return x * 2

        y = Cycle.apply(dd2424.ones(2, requires_grad=True))
        kept[0].output = y
        return y

    assert freed(make)


def test_a_module_in_a_cycle_with_its_hooks_is_freed() -> None:
    def make() -> nn.Module:
        model = nn.Linear(3, 2)
        model.weight.register_hook(lambda grad: grad * model.weight)
        model(dd2424.ones(1, 3)).sum().backward()
        return model

    assert freed(make)


def test_what_is_still_reachable_is_kept() -> None:
    """The collector may not clear a graph of which C++ holds a part."""
    x = dd2424.ones(2, requires_grad=True)
    y = x * 2
    y.register_hook(lambda grad: grad * 3)
    z = y + 1
    del y
    gc.collect()
    z.sum().backward()
    assert x.grad.tolist() == [6, 6]


def test_references_that_die_without_the_lock() -> None:
    """Graphs with Python hooks, dropped by threads that walk them with the lock released."""

    def run() -> None:
        for _ in range(20):
            x = dd2424.ones(200_000, requires_grad=True)
            y = (x * 2).exp()
            y.register_hook(lambda grad: None)
            Double.apply(y).sum().backward()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()


# copies


def test_deepcopy() -> None:
    x = dd2424.ones(2, 3, requires_grad=True)
    x.note = ["a"]
    (x * 2).sum().backward()
    y = copy.deepcopy(x)
    assert y is not x
    assert y.requires_grad
    assert y.grad.tolist() == x.grad.tolist()
    assert y.grad is not x.grad
    y.data.fill_(5.0)
    assert x.sum().item() == 6
    pair = copy.deepcopy([x, x])
    assert pair[0] is pair[1]
    with pytest.raises(RuntimeError, match=r"deepcopy: tensor must be a leaf"):
        copy.deepcopy(x * 2)
    assert copy.copy(x).tolist() == x.tolist()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int64", "uint8", "bool"])
def test_pickle(rng: np.random.Generator, dtype: str) -> None:
    x = dd2424.tensor(rng.integers(0, 2, (2, 3))).to(getattr(dd2424, dtype))
    x.note = "kept"
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        y = pickle.loads(pickle.dumps(x, protocol))
        assert y.dtype is x.dtype
        assert y.tolist() == x.tolist()
        assert y.note == "kept"
    for thing in (dd2424.float32, dd2424.device("cpu"), dd2424.contiguous_format, x.shape):
        assert pickle.loads(pickle.dumps(thing)) == thing


# construction and conversion


def test_the_constructor() -> None:
    assert Tensor().shape == (0,)
    assert Tensor(2, 3).shape == (2, 3)
    assert Tensor(dd2424.Size([2, 3])).shape == (2, 3)
    assert Tensor([1, 2]).tolist() == [1.0, 2.0]
    assert Tensor([1, 2]).dtype is dd2424.float32
    with pytest.raises(TypeError, match=r"Tensor: takes no keyword arguments"):
        Tensor(data=[1])
    with pytest.raises(RuntimeError, match=r"shape must have no negative size"):
        Tensor(-1)


@pytest.mark.parametrize("value", [True, 3, -2.5, float("inf")])
def test_numbers(value: Any) -> None:
    t = dd2424.tensor(value)
    assert t.item() == value
    assert type(t.item()) is type(value)
    assert float(t) == float(value)
    assert bool(t) is bool(value)
    if value not in (-2.5, float("inf")):
        assert int(t) == int(value)
        assert [10, 20, 30, 40][t] == [10, 20, 30, 40][int(value)]


def test_only_one_element_converts() -> None:
    x = dd2424.ones(2)
    for convert in (float, int, bool, Tensor.item):
        with pytest.raises(RuntimeError, match=r"must have one element|only a tensor of one element"):
            convert(x)
    with pytest.raises(TypeError, match=r"only a tensor of an integer dtype can be used as an index"):
        range(3)[dd2424.tensor(1.0)]
    with pytest.raises(TypeError, match=r"a tensor without dimensions has no length"):
        len(dd2424.tensor(1))
    with pytest.raises(TypeError, match=r"iteration over a 0-d tensor"):
        iter(dd2424.tensor(1))


def test_sizes_are_tuples() -> None:
    size = dd2424.ones(2, 3).shape
    assert isinstance(size, tuple)
    assert size == (2, 3)
    assert size.numel() == 6
    assert repr(size) == "dd2424.Size([2, 3])"
    assert dd2424.Size([2, 3])[0] == 2
    assert hash(size) == hash((2, 3))
