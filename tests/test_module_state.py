"""state_dict: names, what is shared, strictness, messages, hooks, extra state."""

from __future__ import annotations

from typing import Any

import pytest

import dd2424
from accuracy import bits
from dd2424 import nn


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


KEYS = ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"]


def test_names_and_memory() -> None:
    net = model()
    state = net.state_dict()
    assert list(state) == KEYS
    assert state["0.weight"].data_ptr() == net[0].weight.data_ptr()
    assert not state["0.weight"].requires_grad
    assert net.state_dict(keep_vars=True)["0.weight"] is net[0].weight
    assert list(net.state_dict(prefix="net.")) == [f"net.{key}" for key in KEYS]


def test_round_trip() -> None:
    net, other = model(), model()
    net(dd2424.randn(5, 2))
    result = other.load_state_dict(net.state_dict())
    assert repr(result) == "<All keys matched successfully>"
    assert bits(list(other.state_dict().values())) == bits(list(net.state_dict().values()))
    assert other[0].weight.requires_grad
    assert other[0].weight.data_ptr() != net[0].weight.data_ptr()


def test_values_are_converted_to_the_members_dtype() -> None:
    net = nn.Linear(2, 1)
    net.load_state_dict({"weight": dd2424.ones(1, 2, dtype=dd2424.float64), "bias": dd2424.zeros(1)})
    assert net.weight.dtype == dd2424.float32
    assert net.weight.tolist() == [[1, 1]]


def test_assign_takes_the_tensors_themselves() -> None:
    net, weight = nn.Linear(2, 1), dd2424.ones(1, 2, dtype=dd2424.float64)
    net.load_state_dict({"weight": weight, "bias": dd2424.zeros(1)}, assign=True)
    assert net.weight.data_ptr() == weight.data_ptr()
    assert isinstance(net.weight, nn.Parameter)
    assert net.weight.dtype == dd2424.float64
    assert net.weight.requires_grad


def test_missing_and_unexpected_keys() -> None:
    net, state = model(), model().state_dict()
    del state["0.bias"]
    state["2.weight"] = state["other"] = dd2424.zeros(1)
    with pytest.raises(RuntimeError) as error:
        net.load_state_dict(state)
    message = str(error.value)
    assert message.startswith("load_state_dict: state_dict does not fit Sequential:\n\t")
    assert 'missing from state_dict: "0.bias"' in message
    assert 'unknown to the module: "2.weight", "other"' in message
    result = net.load_state_dict(state, strict=False)
    assert result.missing_keys == ["0.bias"]
    assert result.unexpected_keys == ["2.weight", "other"]
    assert repr(result) == "IncompatibleKeys(missing_keys=['0.bias'], unexpected_keys=['2.weight', 'other'])"


@pytest.mark.parametrize("strict", [False, True])
def test_other_sizes_are_named(strict: bool) -> None:
    net, state = nn.Linear(2, 3), nn.Linear(4, 3).state_dict()
    before = bits(net.bias)
    with pytest.raises(RuntimeError, match=r"weight: shape \(3, 4\) in state_dict, \(3, 2\) in the module"):
        net.load_state_dict(state, strict=strict)
    assert bits(net.bias) != before, "what fits is loaded, as PyTorch does"


def test_what_is_no_state() -> None:
    with pytest.raises(TypeError, match="load_state_dict: state_dict must be a mapping, got list"):
        model().load_state_dict([])  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="weight: must be a tensor, got float"):
        nn.Linear(1, 1).load_state_dict({"weight": 1.0, "bias": dd2424.zeros(1)})


def test_hooks_around_saving_and_loading() -> None:
    net, seen = nn.Linear(1, 1), []
    net.register_state_dict_pre_hook(lambda module, prefix, keep: seen.append("before save"))
    net.register_state_dict_post_hook(lambda module, state, prefix, _: state.update(extra=1))
    state = net.state_dict()
    assert state["extra"] == 1

    def drop(_: Any, state: dict[str, Any], *__: Any) -> None:
        del state["extra"]

    net.register_load_state_dict_pre_hook(drop)
    handle = net.register_load_state_dict_post_hook(lambda module, keys: seen.append(keys.missing_keys))
    net.load_state_dict(state)
    assert "extra" in state, "the caller's dictionary stays"
    assert seen == ["before save", []]
    handle.remove()
    net.load_state_dict(state)
    assert seen == ["before save", []]


def test_extra_state() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.count = 0

        def get_extra_state(self) -> Any:
            return {"count": self.count}

        def set_extra_state(self, state: Any) -> None:
            self.count = state["count"]

    net = nn.Sequential(Counting())
    net[0].count = 7
    state = net.state_dict()
    assert state["0._extra_state"] == {"count": 7}
    other = nn.Sequential(Counting())
    other.load_state_dict(state)
    assert other[0].count == 7
    assert other.load_state_dict({}, strict=False).missing_keys == ["0._extra_state"]
    with pytest.raises(RuntimeError, match='unknown to the module: "_extra_state"'):
        nn.ReLU().load_state_dict({"_extra_state": 1})


def test_loading_leaves_the_tape_alone_but_counts_as_a_write() -> None:
    net = nn.Linear(2, 2)
    y = net(dd2424.ones(1, 2, requires_grad=True)).sum()
    net.load_state_dict(nn.Linear(2, 2).state_dict())
    assert net.weight.is_leaf
    with pytest.raises(RuntimeError):
        y.backward()  # it needs the weight as it was
