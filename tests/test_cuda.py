"""Tensors on a GPU, real or emulated: how they get there and back, and what is refused."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import dd2424
from dd2424 import cuda
from on_gpu import needs_gpu

DTYPES = ["float32", "float64", "bfloat16", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]
F = dd2424.nn.functional
IMAGE, FILTERS = dd2424.ones(1, 2, 4, 4), (2, 2, 3, 3)
MIXES = {  # operations on a and b, (2, 3) each, that are on different devices
    "matmul": lambda a, b: a @ b.t(), "linear": lambda a, b: F.linear(a, b),
    "bias": lambda a, b: F.linear(a, a, b[0, :2]),
    "addmm": lambda a, b: dd2424.addmm(b[:, :2], a, a.t()), "bmm": lambda a, b: dd2424.bmm(a[None], b.t()[None]),
    "layer_norm": lambda a, b: F.layer_norm(a, (3,), b[0]), "rms_norm": lambda a, b: F.rms_norm(a, (3,), b[0]),
    "batch_norm": lambda a, b: F.batch_norm(a, b[0], b[0]), "mse_loss": lambda a, b: F.mse_loss(a, b),
    "cross_entropy": lambda a, b: F.cross_entropy(a, b[:, 0].long()), "nll": lambda a, b: F.nll_loss(a, b[:, 0].long()),
    "embedding": lambda a, b: F.embedding(a.long(), b), "embedding_bag": lambda a, b: F.embedding_bag(a.long(), b),
    "cat": lambda a, b: dd2424.cat([a, b]), "stack": lambda a, b: dd2424.stack([a, b]),
    "gather": lambda a, b: a.gather(0, b.long()), "take": lambda a, b: a.take(b.long()),
    "index_select": lambda a, b: a.index_select(0, b[0].long()), "index": lambda a, b: a[b[0].long()],
    "mask": lambda a, b: a[b > 0], "masked_fill": lambda a, b: a.masked_fill(b > 0, 1.0),
    "scatter": lambda a, b: a.scatter(0, b.long(), a), "scatter_add": lambda a, b: a.scatter_add(0, a.long(), b),
    "index_add": lambda a, b: a.index_add(0, b[0, :2].long(), a), "put": lambda a, b: a.__setitem__(b[0].long(), 1.0),
    "attention": lambda a, b: F.scaled_dot_product_attention(a[None], b[None], b[None]),
    "attention mask": lambda a, b: F.scaled_dot_product_attention(a[None], a[None], a[None], b[:, :2]),
    "searchsorted": lambda a, b: dd2424.searchsorted(a[0], b[0]), "lerp": lambda a, b: dd2424.lerp(a, b, 0.5),
    "einsum": lambda a, b: dd2424.einsum("ij,kj->ik", a, b), "prelu": lambda a, b: F.prelu(a, b[0]),
    "equal": lambda a, b: dd2424.equal(a, b), "quantile": lambda a, b: dd2424.quantile(a, b[0] * 0.5),
    "conv": lambda a, b: F.conv2d(IMAGE.to(a), b[0].expand(FILTERS).contiguous()),
    "transposed conv": lambda a, b: F.conv_transpose2d(IMAGE.to(a), b[0].expand(FILTERS).contiguous()),
    "grid_sample": lambda a, b: F.grid_sample(IMAGE.to(a), b[0, :2].expand(1, 3, 3, 2).contiguous()),
    "unpool": lambda a, b: F.max_unpool2d(IMAGE.to(a), b[0, 0].expand(1, 2, 4, 4).contiguous().long(), 2),
    "lstm": lambda a, b: dd2424.nn.LSTM(3, 3).to(b.device)(a[None]),
    "optimizer": lambda a, b: dd2424._core.clip_grad_norm([a, b], 1.0),
    "backward": lambda a, b: (a.requires_grad_() * 2).backward(b), "grad": lambda a, b: setattr(a, "grad", b),
}  # fmt: skip


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh process, in which no GPU is in use yet."""
    import os

    return subprocess.run(
        [sys.executable, "-c", f"import dd2424, dd2424.cuda as cuda\n{code}"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_missing_library_is_named(tmp_path):
    text = tmp_path / "_cuda.so"
    text.write_text("no library")
    for library, reason in ((tmp_path / "absent.so", "can't be loaded"), (text, "can't be loaded")):
        code = "assert not cuda.is_available()\ntry: dd2424.ones(2).cuda()\nexcept RuntimeError as error: print(error)"
        done = python(code, DD2424_CUDA_LIBRARY=str(library))
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("to: device must be cpu, got cuda: the library")
        assert reason in done.stdout
        assert library.name in done.stdout


@pytest.mark.slow
def test_another_library_is_refused():
    import ctypes.util

    done = python("print(cuda.why_not())", DD2424_CUDA_LIBRARY=ctypes.util.find_library("m") or "libm.so.6")
    assert done.stdout.startswith("library must be dd2424's, got libm")


@pytest.mark.skipif(cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_breaks():
    assert cuda.device_count() == 0
    assert cuda.memory_allocated() == cuda.max_memory_allocated() == cuda.memory_reserved() == 0
    cuda.empty_cache(), cuda.reset_peak_memory_stats(), cuda.manual_seed(3)
    for ask in (cuda.synchronize, cuda.get_device_name, cuda.mem_get_info, cuda.current_device,
                lambda: dd2424.zeros(2, device="cuda"), lambda: dd2424.rand(2, device="cuda:0")):  # fmt: skip
        with pytest.raises(RuntimeError, match=r"device must be cpu, got cuda.*: (dd2424 has no CUDA|no NVIDIA)"):
            ask()


@needs_gpu
class TestOnAGpu:
    def test_what_there_is(self):
        assert cuda.device_count() == 1
        assert cuda.current_device() == 0
        assert cuda.get_device_name()
        assert cuda.get_device_capability() >= (7, 5)
        free, total = cuda.mem_get_info()
        assert 0 < free <= total
        cuda.synchronize()
        for other in ("cuda:1", "cpu"):
            with pytest.raises(RuntimeError, match="get_device_name: device must be cuda:0"):
                cuda.get_device_name(other)
        with pytest.raises(RuntimeError, match="to: device must be cuda:0, the one GPU that is used, got cuda:1"):
            dd2424.ones(2).to("cuda:1")

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (2, 3, 4, 5), (1000,)], ids=str)
    def test_there_and_back(self, rng, dtype, shape):
        x = dd2424.tensor(rng.integers(0, 2, shape) * 3).to(getattr(dd2424, dtype))
        y = x.cuda()
        assert y.is_cuda
        assert str(y.device) == "cuda:0"
        assert y.get_device() == 0
        assert not x.is_cuda
        assert y.dtype == x.dtype
        assert y.shape == x.shape
        assert y.cuda() is y
        assert x.cpu() is x
        assert y.tolist() == x.tolist()
        assert str(y.cpu()) == str(x)

    def test_layouts_stay(self, rng):
        x = dd2424.from_numpy(rng.normal(size=(2, 3, 4, 5)))
        for view in (x.permute(0, 2, 3, 1), x.transpose(0, 1), x.contiguous(memory_format=dd2424.channels_last)):
            y = view.cuda()
            assert y.stride() == view.stride()
            assert y.cpu().stride() == view.stride()
            assert y.tolist() == view.tolist()
        sliced = x[:, ::2, 1:3, ::3]
        assert sliced.cuda().tolist() == sliced.tolist()
        assert sliced.cuda().is_contiguous()
        assert x[0].expand(3, 3, 4, 5).cuda().tolist() == x[0].expand(3, 3, 4, 5).tolist()

    @pytest.mark.parametrize("make", [
        lambda **where: dd2424.zeros(2, 3, **where), lambda **where: dd2424.ones(4, dtype=dd2424.int8, **where),
        lambda **where: dd2424.full((2, 2), 1.5, **where), lambda **where: dd2424.arange(3, 30, 4, **where),
        lambda **where: dd2424.arange(0.5, 2.0, 0.1, **where), lambda **where: dd2424.tensor([[1, 2], [3, 4]], **where),
        lambda **where: dd2424.rand(9, **where), lambda **where: dd2424.randn(3, 3, **where),
        lambda **where: dd2424.randint(0, 9, (20,), **where),
        lambda **where: dd2424.linspace(0, 1, 7, **where), lambda **where: dd2424.scalar_tensor(3.0, **where),
    ])  # fmt: skip
    def test_creation_is_that_of_the_cpu(self, make):
        dd2424.manual_seed(1)
        expected = make()
        dd2424.manual_seed(1)
        y = make(device="cuda")
        assert y.is_cuda
        assert y.dtype == expected.dtype
        assert y.tolist() == expected.tolist()

    @pytest.mark.parametrize("n", [0, 1, 2, 1000])
    def test_random_orders_are_of_the_seed(self, n):
        orders = []
        for seed in (5, 5, 6):
            dd2424.manual_seed(seed)
            orders.append(dd2424.randperm(n, device="cuda", dtype=dd2424.int32))
            assert (orders[-1].is_cuda, orders[-1].dtype) == (True, dd2424.int32)
            assert sorted(orders[-1].tolist()) == list(range(n))
        assert orders[0].tolist() == orders[1].tolist()
        assert n < 1000 or orders[0].tolist() != orders[2].tolist()
        own = dd2424.Generator().manual_seed(5)
        assert dd2424.randperm(n, generator=own, device="cuda").tolist() == orders[0].tolist()
        with pytest.raises(RuntimeError, match="randperm: n must not be negative, got -1"):
            dd2424.randperm(-1, device="cuda")

    def test_random_orders_are_equally_likely(self):
        dd2424.manual_seed(0)
        places = sum((dd2424.randperm(5, device="cuda") == 0).long() for _ in range(400)).tolist()
        assert all(abs(count - 80) < 5 * 8 for count in places)  # five standard deviations

    def test_what_is_made_beside_a_tensor_is_where_it_is(self):
        x = dd2424.ones(2, 3, device="cuda")
        for y in (dd2424.zeros_like(x), dd2424.rand_like(x), x.new_zeros(2), x.new_tensor([1.0]), x.clone(), x[0],
                  dd2424.ones(2).type_as(x), dd2424.ones(2).to(x), dd2424.tensor(x), copy.deepcopy(x)):  # fmt: skip
            assert y.is_cuda
        assert not dd2424.zeros_like(x, device="cpu").is_cuda

    def test_copies_cross(self, rng):
        a = rng.normal(size=(4, 6)).astype(np.float32)
        y = dd2424.zeros(4, 6, dtype=dd2424.float64, device="cuda")
        y.copy_(dd2424.from_numpy(a))
        assert y.tolist() == a.astype(np.float64).tolist()
        y[1:3, ::2] = dd2424.from_numpy(a[:2, :3].copy())
        expected = a.astype(np.float64)
        expected[1:3, ::2] = a[:2, :3]
        assert y.tolist() == expected.tolist()
        back = dd2424.zeros(6)
        back.copy_(y[2])
        assert back.tolist() == expected[2].astype(np.float32).tolist()
        y.fill_(2)
        assert y.sum().item() == 48.0

    def test_gradients_cross(self):
        x = dd2424.tensor([1.0, 2.0, 3.0], requires_grad=True)
        y = x.cuda()
        (y * y).sum().backward()
        assert x.grad is not None
        assert not x.grad.is_cuda
        assert x.grad.tolist() == [2.0, 4.0, 6.0]
        w = dd2424.ones(3, device="cuda", requires_grad=True)
        (w.cpu() * 5).sum().backward()
        assert w.grad is not None
        assert w.grad.is_cuda
        assert w.grad.tolist() == [5.0, 5.0, 5.0]

    def test_devices_are_not_mixed(self):
        x, y = dd2424.ones(2, 3, device="cuda"), dd2424.ones(2, 3)
        condition = x > 0
        for mix in (lambda: x + y, lambda: y * x, lambda: x < y, lambda: x.add_(y), lambda: y.add_(x),
                    lambda: dd2424.where(condition, x, y), lambda: dd2424.where(y > 0, x, x)):  # fmt: skip
            with pytest.raises(RuntimeError, match=r"must be on one device, got (cuda|cpu) \(shape \(2, 3\)\)"):
                mix()

    @pytest.mark.parametrize("name", list(MIXES))
    @pytest.mark.parametrize("first_is_on_the_gpu", [False, True])
    def test_no_operation_mixes_devices(self, name, first_is_on_the_gpu):
        """Least of all by handing the memory of one device to a kernel of the other."""
        a, b = dd2424.ones(2, 3), dd2424.ones(2, 3)
        a, b = (a.cuda(), b) if first_is_on_the_gpu else (a, b.cuda())
        if first_is_on_the_gpu and name in ("index", "mask", "put", "take"):  # keys go where the elements are
            MIXES[name](a, b)
            return
        with pytest.raises(RuntimeError, match=r"must be on (one device|the root's device)"):
            MIXES[name](a, b)

    @pytest.mark.parametrize("name", list(MIXES))
    def test_an_operation_works_there_or_says_that_it_does_not(self, name):
        a, b = dd2424.ones(2, 3), dd2424.ones(2, 3)
        try:
            result = MIXES[name](a.cuda(), b.cuda())
        except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            assert "in the host's memory" in str(error) or "grad" in name, str(error)  # noqa: PT017
            return
        expected = MIXES[name](a, b)
        if isinstance(result, dd2424.Tensor):
            assert result.is_cuda
            np.testing.assert_allclose(result.tolist(), expected.tolist(), rtol=1e-5)

    def test_a_number_in_the_hosts_memory_may_meet_a_gpus_tensor(self):
        x, two = dd2424.tensor([1.0, 3.0], device="cuda"), dd2424.tensor(2.0, requires_grad=True)
        assert (x + two).tolist() == [3.0, 5.0]
        assert (two - x).tolist() == [1.0, -1.0]
        assert (x < two).tolist() == [True, False]
        assert dd2424.where(x > 1, x, two).tolist() == [2.0, 3.0]
        (x * two).sum().backward()
        assert two.grad is not None
        assert two.grad.item() == 4.0
        assert not two.grad.is_cuda

    def test_what_the_host_reads(self):
        x = dd2424.tensor([[1.5, -2.0]], device="cuda")
        assert float(x[0, 0]) == 1.5
        assert bool(x[0, 1] < 0)
        assert int(x[0, 1]) == -2
        assert x[0, 0].item() == 1.5
        assert "device='cuda:0'" in repr(x)
        assert "1.5" in repr(x)
        for read in (x.numpy, lambda: np.asarray(x), lambda: memoryview(x)):
            with pytest.raises((TypeError, BufferError), match=r"in the host's memory, got one on cuda; use \.cpu\(\)"):
                read()
        interface = x.t().__cuda_array_interface__
        assert interface["shape"] == (2, 1)
        assert interface["data"] == (x.data_ptr(), False)
        assert not hasattr(dd2424.ones(2), "__cuda_array_interface__")

    def test_pickles_and_files_carry_it(self, tmp_path):
        x = dd2424.tensor([1.0, 2.0], device="cuda")
        again = pickle.loads(pickle.dumps(x))
        assert again.is_cuda
        assert again.tolist() == [1.0, 2.0]
        dd2424.save({"x": x}, tmp_path / "x.safetensors")
        assert not dd2424.load(tmp_path / "x.safetensors")["x"].is_cuda
        assert dd2424.load(tmp_path / "x.safetensors", map_location="cuda")["x"].tolist() == [1.0, 2.0]

    def test_a_module_moves(self):
        layer = dd2424.nn.BatchNorm1d(3)
        assert layer.cuda() is layer
        assert layer.weight.is_cuda
        assert layer.running_mean.is_cuda
        assert layer.cpu().weight.tolist() == [1.0, 1.0, 1.0]
        assert not layer.weight.is_cuda

    def test_memory_is_counted_and_given_back(self):
        dd2424.ones(3, device="cuda")
        before = cuda.memory_allocated()
        x = dd2424.empty(1000, 1000, device="cuda")
        assert cuda.memory_allocated() - before >= 4_000_000
        assert cuda.max_memory_allocated() >= 4_000_000
        del x
        assert cuda.memory_allocated() == before
        cuda.empty_cache(), cuda.reset_peak_memory_stats()
        assert cuda.max_memory_allocated() == before
        assert cuda.memory_reserved() >= before

    def test_out_of_memory_leaves_all_as_it_was(self):
        before = cuda.memory_allocated()
        with pytest.raises(RuntimeError, match=r"allocate: the GPU has no memory for \d+ bytes \(.*out of memory"):
            dd2424.empty(1 << 45, device="cuda")
        assert cuda.memory_allocated() == before
        assert dd2424.ones(3, device="cuda").sum().item() == 3


@pytest.mark.slow
@needs_gpu
def test_a_library_of_other_contracts_is_refused():
    library = cuda._library()
    code = "import ctypes\nlibrary = ctypes.CDLL(cuda._library())\nask = library.dd2424_open_device\n" \
           "ask.restype = ctypes.c_char_p\nprint(ask(b'another', None, None).decode())"  # fmt: skip
    done = python(code, DD2424_CUDA_LIBRARY=str(library))
    assert "belongs to another version of dd2424" in done.stdout
    assert "here they are another" in done.stdout
