"""Captured graphs: replays compute what the calls would, on new values; what a graph can't hold is refused."""

from __future__ import annotations

import gc

import pytest

import dd2424
from dd2424 import Tensor, cuda, nn
from on_gpu import needs_gpu

pytestmark = needs_gpu
F = nn.functional


def captured(function, *inputs: Tensor) -> tuple[cuda.CUDAGraph, Tensor]:
    g = cuda.CUDAGraph()
    with cuda.graph(g):
        y = function(*inputs)
    return g, y


def test_a_replay_computes_on_what_the_inputs_hold(rng):
    x = dd2424.zeros(300, device="cuda")
    g, y = captured(lambda x: (x * 2 + 1).exp().sum(), x)
    for _ in range(3):
        values = dd2424.tensor(rng.normal(size=300)).float()
        x.copy_(values)
        g.replay()
        assert y.item() == (values.cuda() * 2 + 1).exp().sum().item()


def test_nothing_is_done_before_a_replay():
    x = dd2424.zeros(5, device="cuda")
    g, y = captured(lambda x: x.add_(1), x)
    assert y is x
    assert x.tolist() == [0] * 5
    with cuda.stream(cuda.Stream()):
        for _ in range(3):
            g.replay()
        assert x.tolist() == [3] * 5


@pytest.mark.parametrize("dtype", [dd2424.float32, dd2424.bfloat16])
def test_random_numbers_are_those_of_the_calls(dtype):
    """The same as without a graph, call for call, and the generator goes on alike."""

    def draw(x: Tensor) -> Tensor:
        return F.dropout(x, 0.5) + dd2424.rand_like(x) + dd2424.empty_like(x).normal_()

    x = dd2424.ones(1000, device="cuda", dtype=dtype)
    g, y = captured(draw, x)
    dd2424.manual_seed(7)
    expected = [draw(x).float().tolist() for _ in range(3)]
    after = dd2424.rand(3).tolist()
    dd2424.manual_seed(7)
    results = []
    for _ in range(3):
        g.replay()
        results.append(y.float().tolist())
    assert results == expected
    assert len({tuple(r) for r in results}) == 3
    assert dd2424.rand(3).tolist() == after


def test_one_hot_rows_of_what_a_replay_finds():
    classes = dd2424.zeros(4, dtype=dd2424.int64, device="cuda")
    g, y = captured(lambda c: F.one_hot(c, 3), classes)
    classes.copy_(dd2424.tensor([2, 0, 1, 7]))
    g.replay()
    assert y.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0]]
    with pytest.raises(RuntimeError, match="captured"):
        captured(lambda c: F.one_hot(c), classes)


@pytest.mark.parametrize("name", ["nll_loss", "multi_margin_loss", "multilabel_margin_loss", "cross_entropy"])
def test_losses_of_classes_in_a_graph(rng, name):
    x = dd2424.tensor(rng.normal(size=(4, 3))).float().cuda()
    target = dd2424.tensor([2, 0, 1, 1]) if name != "multilabel_margin_loss" else dd2424.tensor([[1, -1, 0]] * 4)
    target, loss = target.cuda(), getattr(F, name)
    g, y = captured(lambda x: loss(x, target), x)
    x.mul_(2)
    g.replay()
    assert y.item() == loss(x, target).item()


def test_integers_drawn_in_a_graph():
    g, y = captured(lambda: dd2424.randint(0, 1000, (50,), device="cuda"))
    dd2424.manual_seed(3)
    expected = dd2424.randint(0, 1000, (50,), device="cuda").tolist()
    dd2424.manual_seed(3)
    g.replay()
    assert y.tolist() == expected
    order_graph, order = captured(lambda: dd2424.randperm(50, device="cuda"))
    dd2424.manual_seed(4)
    expected = dd2424.randperm(50, device="cuda").tolist()
    dd2424.manual_seed(4)
    order_graph.replay()
    assert order.tolist() == expected
    own = dd2424.Generator()
    with pytest.raises(RuntimeError, match="in a captured graph generator must be the default one"):
        captured(lambda: dd2424.rand(3, generator=own, device="cuda"))


def network() -> nn.Module:
    dd2424.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 33), nn.Tanh(), nn.Dropout(0.2), nn.Linear(33, 2)).cuda()


def train_step(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    loss = ((model(x) - y) ** 2).mean()
    loss.backward()
    with dd2424.no_grad():
        for p in model.parameters():
            assert p.grad is not None
            p.sub_(p.grad, alpha=0.3)
    model.zero_grad(set_to_none=True)
    return loss.detach()


def test_a_captured_training_step_is_the_step(rng):
    def drawn(columns: int) -> Tensor:
        return dd2424.tensor(rng.normal(size=(9, columns))).float().cuda()

    batches = [(drawn(6), drawn(2)) for _ in range(4)]
    model = network()
    dd2424.manual_seed(1)
    expected = [train_step(model, x, y).item() for x, y in batches]
    again = network()
    x, y = (dd2424.empty_like(part) for part in batches[0])
    g, loss = captured(lambda: train_step(again, x, y))
    dd2424.manual_seed(1)
    losses = []
    for new_x, new_y in batches:
        x.copy_(new_x), y.copy_(new_y)
        g.replay()
        losses.append(loss.item())
    assert losses == expected
    for a, b in zip(again.parameters(), model.parameters(), strict=True):
        assert a.tolist() == b.tolist()


@pytest.mark.parametrize(("what", "message"), [
    (lambda x: x.sum().item(), "copy: between the host and the GPU there must be no copy while a graph is captured"),
    (lambda x: x.cpu(), "copy: between the host and the GPU"),
    (lambda x: dd2424.tensor([1.0, 2.0], device="cuda"), "copy: between the host and the GPU"),
    (lambda x: cuda.synchronize(), "synchronize: the GPU must not be waited for while a graph is captured"),
    (lambda x: cuda.current_stream().synchronize(), "synchronize: the GPU must not be waited for"),
    (lambda x: cuda.current_stream().query(), "query: a stream or an event must not be asked"),
    (lambda x: captured(lambda: x), "synchronize: the GPU must not be waited for"),
    (lambda x: cuda.CUDAGraph().capture_begin(), "capture_begin: no other graph must be being captured"),
    (lambda x: 1 / 0, "division by zero"),
])  # fmt: skip
def test_what_a_graph_cannot_hold_is_refused_and_leaves_all_as_it_was(what, message):
    x = dd2424.ones(3, device="cuda")
    g = cuda.CUDAGraph()
    with pytest.raises((RuntimeError, ZeroDivisionError), match=message), cuda.graph(g):
        y = x + 1
        what(x)
    assert not cuda.is_current_stream_capturing()
    assert cuda.current_stream() == cuda.default_stream()
    with pytest.raises(RuntimeError, match="replay: the graph must have been captured, got an empty one"):
        g.replay()
    with cuda.graph(g):
        assert cuda.is_current_stream_capturing()
        y = x + 2
    g.replay()
    assert y.tolist() == [3, 3, 3]


def test_begin_and_end_are_told_apart():
    g = cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match="current stream must not be the default one; use graph"):
        g.capture_begin()
    with pytest.raises(RuntimeError, match="capture_end: capture_begin must have been called before"):
        g.capture_end()
    with pytest.raises(RuntimeError, match="pool: the graph must have been captured"):
        g.pool()
    x = dd2424.ones(3, device="cuda")
    with cuda.graph(g):
        x.add_(1)
    with pytest.raises(RuntimeError, match="the graph must be empty, got one that was captured; use reset"), \
            cuda.graph(g):  # fmt: skip
        x.add_(1)
    g.reset()
    with cuda.graph(g):
        x.add_(5)
    g.replay()
    assert x.tolist() == [6, 6, 6]


def test_a_graph_keeps_its_memory_to_itself_and_gives_it_back():
    x = dd2424.ones(1000, device="cuda")
    gc.collect()
    cuda.empty_cache()
    before = cuda.memory_allocated()
    g, y = captured(lambda x: (x + 1) * (x + 2), x)
    places = {dd2424.zeros(1000, device="cuda").data_ptr() for _ in range(5)}
    others = [dd2424.zeros(1000, device="cuda") for _ in range(5)]
    g.replay()
    assert y.data_ptr() not in places
    assert y.tolist() == [6] * 1000
    assert all(z.sum().item() == 0 for z in others)
    held = cuda.memory_reserved()
    g.reset()
    del others
    cuda.empty_cache()
    assert cuda.memory_reserved() < held
    assert y.tolist() == [6] * 1000
    del g, y
    gc.collect()
    assert cuda.memory_allocated() == before


def test_graphs_may_share_their_memory():
    pool, x = cuda.graph_pool_handle(), dd2424.ones(100, device="cuda")
    graphs, results = [cuda.CUDAGraph(), cuda.CUDAGraph()], []
    for i, g in enumerate(graphs):
        with cuda.graph(g, pool=pool if i == 0 else graphs[0].pool()):
            results.append(x * (i + 2) + 1)
    for g, y, expected in zip(graphs, results, (3, 4), strict=True):
        g.replay()
        assert y.tolist() == [expected] * 100


def test_a_second_stream_joins_a_capture():
    x, side, g = dd2424.ones(50, device="cuda"), cuda.Stream(), cuda.CUDAGraph()
    with cuda.graph(g):
        y = x + 1
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            z = y * 3
        cuda.current_stream().wait_stream(side)
        z = z + y
    x.fill_(4)
    g.replay()
    assert z.tolist() == [20] * 50


def test_a_graphed_module_trains_as_the_module_does(rng):
    plain, graphed = network(), network()
    x = dd2424.zeros(9, 6, device="cuda", requires_grad=True)
    assert cuda.make_graphed_callables(graphed, (x,)) is graphed
    for i in range(3):
        values = dd2424.tensor(rng.normal(size=(9, 6))).float().cuda()
        results = []
        for model in (plain, graphed):
            dd2424.manual_seed(i)
            inputs = values.clone().requires_grad_()
            y = model(inputs)
            (y * y).sum().backward()
            results.append([y, inputs.grad, *(p.grad for p in model.parameters())])
        for a, b in zip(*results, strict=True):
            assert a.tolist() == b.tolist()
    graphed.eval()
    assert graphed(dd2424.ones(2, 6, device="cuda")).shape == (2, 2)


def test_graphed_functions_refuse_what_they_cannot_be(rng):
    x = dd2424.ones(4, device="cuda", requires_grad=True)
    both, one = cuda.make_graphed_callables((lambda x: (x * 2, x.detach() + 1), lambda x: x**3), ((x,), (x,)))
    y, z = both(x)
    assert not z.requires_grad
    w = one(y)
    w.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [24] * 4
    assert (y.tolist(), z.tolist(), w.tolist()) == ([2] * 4, [2] * 4, [8] * 4)
    first = one(x)
    one(x)
    with pytest.raises(RuntimeError, match="backward must come before the next call"):
        first.sum().backward()
    for wrong in (x.detach(), dd2424.ones(5, device="cuda", requires_grad=True)):
        with pytest.raises(RuntimeError, match="graphed callable: input 0 must be like the sample"):
            one(wrong)
    with pytest.raises(TypeError, match="there must be 1 tensors, got 2"):
        one(x, x)
    with pytest.raises(TypeError, match="sample_args must be tensors on a GPU"):
        cuda.make_graphed_callables(lambda x: x, (dd2424.ones(2),))
