"""Whatever a caller passes to the compiled module, it answers or refuses; no crash, and no input is changed.

The functions are those that the module has; a new one is tested as soon as it exists.
"""

from __future__ import annotations

import inspect
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import dd2424
from arguments import DTYPES, NUMBERS, WHOLE, Call, argument, arguments
from dd2424 import Tensor, _core
from signatures import FUNCTIONS, members, signature

# NotImplementedError is a RuntimeError. What cannot be set raises AttributeError; int() of infinity, OverflowError.
REFUSALS = (RuntimeError, ValueError, TypeError, IndexError, AttributeError, OverflowError)
# Set the state of the process, which conftest and their own tests look after.
STATE = {"set_num_threads", "set_isa", "set_default_dtype", "set_grad_enabled", "empty_cache", "reset_peak_memory",
         "set_winograd", "machine_handoffs", "enter_autocast", "exit_autocast"}  # fmt: skip
IN_PLACE = {"backward", "batch_norm", "clip_grad_norm"}  # beside names that end in _ or _step
UNSET = {"empty", "empty_like", "new_empty"}  # elements are whatever the memory held
METHODS = sorted(name for name, value in members("Tensor").items()
                 if name not in FUNCTIONS and not name.startswith("__") and not inspect.isfunction(value))  # fmt: skip
EXAMPLES = int(os.environ.get("DD2424_EXAMPLES", "12"))
property_test = settings(
    max_examples=EXAMPLES, derandomize=True, database=None, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)  # fmt: skip


def tensors_in(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for part in value for t in tensors_in(part)] if isinstance(value, list | tuple) else []


def read(value: Any) -> list[bytes]:
    """Every element of every tensor in a result: what lies outside of the memory is found out by reading it."""
    return [t.detach().contiguous().numpy().tobytes() for t in tensors_in(value)]


def seed(values: list[Any]) -> None:
    """Two calls draw the same numbers."""
    for generator in (_core.default_generator, *(v for v in values if isinstance(v, _core.Generator))):
        generator.manual_seed(0)


def check_call(name: str, function: Any, call: Call, positional: list[Any], keywords: dict[str, Any]) -> None:
    """Answers or refuses; out of place, it leaves the inputs alone and answers the same again."""
    before, refusal = read(call.arrays), None
    is_pure = not name.endswith(("_", "_step")) and name not in IN_PLACE
    try:
        seed([*positional, *keywords.values()])
        result = function(*positional, **keywords)
        content = read(result)
        if is_pure and name not in UNSET and not name.startswith(("memory", "kernel")):
            seed([*positional, *keywords.values()])
            assert read(function(*positional, **keywords)) == content, "another answer to the same call"
        for t in tensors_in(result):
            if t.requires_grad and t.is_floating_point():
                t.backward(dd2424.ones_like(t).detach(), retain_graph=True)
    except REFUSALS as error:
        refusal = str(error)
    assert refusal != "", "a refusal without a message"
    after = read(call.arrays)
    assert not is_pure or after == before, "an input has changed"


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in STATE])
@property_test
@given(data=st.data())
def test_function(name, data):
    function = getattr(_core, name)
    stated = signature(name, function)
    assert stated is not None, "every function states its arguments"
    call = Call.drawn(data.draw)
    check_call(name, function, call, *arguments(call, stated))


@pytest.mark.parametrize("name", [n for n in METHODS if callable(getattr(Tensor, n, None))])
@property_test
@given(data=st.data())
def test_method(name, data):
    method = getattr(Tensor, name)
    stated, call = signature(name, method), Call.drawn(data.draw)
    if stated:
        positional, keywords = arguments(call, stated)
        positional[:1] = [call.tensor()]
    else:
        positional, keywords = [call.tensor(), *data.draw(st.lists(WHOLE, max_size=3))], {}
    check_call(name, method, call, positional, keywords)


@pytest.mark.parametrize("name", [n for n in METHODS if not callable(getattr(Tensor, n, None))])
@property_test
@given(data=st.data())
def test_property(name, data):
    call = Call.drawn(data.draw)
    check_call(name, lambda t: getattr(t, name), call, [call.tensor()], {})
    value = argument(call, None)
    check_call(f"{name}_", lambda t: setattr(t, name, value), call, [call.tensor()], {})


OPERATORS = sorted(n for n in dir(Tensor) if n.startswith("__") and hasattr(int, n) and n not in dir(object)) + [
    "__matmul__", "__imatmul__", "__iadd__", "__imul__", "__ipow__", "__itruediv__", "__eq__", "__lt__", "__len__",
]  # fmt: skip


@pytest.mark.parametrize("name", [n for n in OPERATORS if hasattr(Tensor, n)])
@property_test
@given(data=st.data())
def test_operator(name, data):
    call = Call.drawn(data.draw)
    unary = name in ("__abs__", "__neg__", "__pos__", "__invert__", "__bool__", "__int__", "__float__", "__index__",
                     "__len__")  # fmt: skip
    others = [] if unary else [argument(call, None) if data.draw(st.booleans()) else call.tensor()]
    check_call(
        f"{name}_" if name.startswith("__i") else name, getattr(Tensor, name), call, [call.tensor(), *others], {}
    )


def indices(call: Call) -> Any:
    """What may stand between brackets: integers, slices, None, ..., tensors, arrays, lists, and tuples of them."""
    ends = st.one_of(st.none(), st.integers(-4, 4), WHOLE)
    whole = st.integers(-3, 3)
    simple = st.one_of(
        whole, st.none(), st.just(...), st.booleans(), st.builds(slice, ends, ends, ends), st.lists(whole, max_size=3),
        st.builds(np.array, st.lists(whole, min_size=1, max_size=3)), st.just("x"), NUMBERS,
    )  # fmt: skip
    tensor = st.builds(lambda values, dtype: dd2424.tensor(values).to(dtype), st.lists(whole, max_size=4),
                       st.sampled_from((_core.int64, _core.bool, *DTYPES)))  # fmt: skip
    mask = st.builds(lambda: dd2424.ones(call.shape, dtype=_core.bool))
    one = st.one_of(simple, tensor, mask)
    return call.draw(st.one_of(one, st.lists(one, max_size=4).map(tuple)))


@settings(property_test, max_examples=20 * EXAMPLES)
@given(data=st.data())
def test_reading_at_an_index(data):
    call = Call.drawn(data.draw)
    check_call("[]", Tensor.__getitem__, call, [call.tensor(), indices(call)], {})


@settings(property_test, max_examples=20 * EXAMPLES)
@given(data=st.data())
def test_writing_at_an_index(data):
    call = Call.drawn(data.draw)
    value = call.tensor() if data.draw(st.booleans()) else argument(call, None)
    check_call("[]=_", Tensor.__setitem__, call, [call.tensor(), indices(call), value], {})


ARRAY_KINDS = ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "g", "c8", "S3", "U2", "O",
               "M8[s]", ">f4", ">i8", "i4,f4")  # fmt: skip


@settings(property_test, max_examples=10 * EXAMPLES)
@given(data=st.data())
def test_arrays_of_any_kind(data):
    """from_numpy and tensor take an array or refuse it: any dtype, byte order, alignment, strides; writable or not."""
    kind = data.draw(st.sampled_from(ARRAY_KINDS))
    shape = tuple(data.draw(st.lists(st.integers(0, 3), max_size=4)))
    dtype, size = np.dtype(kind), int(np.prod(shape))
    memory, offset = np.zeros(size * dtype.itemsize + 8, np.uint8), data.draw(st.sampled_from((0, 0, 1, 4)))
    array = np.zeros(shape, dtype) if dtype.hasobject else np.ndarray(shape, dtype, memory, offset)
    steps = tuple(slice(None, None, data.draw(st.sampled_from((1, -1, 2)))) for _ in shape)
    array = array.transpose(data.draw(st.permutations(range(len(shape)))))[(..., *steps)]
    array.flags.writeable = data.draw(st.booleans()) and array.flags.writeable
    for take in (_core.from_numpy, _core.tensor):
        try:
            t = take(array)
        except REFUSALS:
            continue
        np.testing.assert_array_equal(t.numpy(), array)
