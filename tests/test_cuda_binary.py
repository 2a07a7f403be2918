"""What nvcc made of the products: the instructions that were meant, and no sums that live in memory."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

OBJECTS = Path(__file__).parents[1] / "build" / "cuda" / "CMakeFiles" / "dd2424_cuda.dir" / "csrc" / "cuda"
PACKAGED = Path(sys.prefix).glob("lib/python*/site-packages/nvidia/cu*/bin")  # of nvidia-cuda-cuobjdump
FOLDERS = [*os.get_exec_path(), "/usr/local/cuda/bin", *map(str, PACKAGED)]
CUOBJDUMP = shutil.which("cuobjdump", path=os.pathsep.join(FOLDERS))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CUOBJDUMP, reason="cuobjdump is not on this machine"),
    pytest.mark.skipif(not (OBJECTS / "gemm.cu.o").exists(), reason="the CUDA library is not built: make cuda"),
]


SHAPES = {  # of a product by a warp, and by a warpgroup
    "bfloat16": (r"HMMA\.16816\.F32\.BF16", r"16\.F32\.BF16"),
    "float16": (r"HMMA\.16816\.F32\s", r"16\.F32\s"),
    "tfloat32": (r"HMMA\.1688\.F32\.TF32", r"8\.F32\.TF32"),
}


def dumped(what: str, name: str) -> dict[str, str]:
    """By the mangled name of each function of an object, what cuobjdump says of it."""
    done = subprocess.run([str(CUOBJDUMP), what, OBJECTS / name], capture_output=True, text=True, check=True)
    parts = re.split(r"^\s*Function\s*:?\s*(\w+)", done.stdout, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def dumped_targets(name: str) -> str:
    done = subprocess.run([str(CUOBJDUMP), "-lelf", OBJECTS / name], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("name", ["gemm.cu.o", "conv.cu.o"])
def test_products_have_the_instructions_that_were_meant(name):
    products = {f: code for f, code in dumped("-sass", name).items() if "product_kernel" in f}
    tensor = {f: code for f, code in products.items() if "TensorLoop" in f}
    assert tensor
    for function, code in tensor.items():
        kind = re.findall(r"TensorLoopIN?\w*?(bfloat16|float16|tfloat32)", function)[0]
        meant = [SHAPES[kind][0], r"LDGSTS\.E\S*\.128", r"LDSM\.16\.M88\.4"]
        for instruction in meant if kind == "tfloat32" else [*meant, r"LDSM\.16\.MT88\.4"]:
            assert re.search(instruction, code), (function, instruction)
    for function, code in products.items():
        if "SimtLoop" not in function:
            continue
        past_registers = name == "gemm.cu.o" and "float16" not in function
        for instruction in (r"LDGSTS\.E" if past_registers else r"LDG\.E\S*\.(128|64)", r"LDS\S*\.128"):
            assert re.search(instruction, code), (function, instruction)
        assert len(re.findall(r"[FD]FMA", code)) >= 256  # a slice's, 4 by 4 by 16 and more


@pytest.mark.parametrize("name", ["gemm.cu.o", "conv.cu.o"])
def test_products_on_warpgroups_have_the_instructions_that_were_meant(name):
    groups = {f: code for f, code in dumped("-sass", name).items() if "warpgroup_kernel" in f and "HGMMA" in code}
    assert groups or "sm_90a" not in dumped_targets(name)
    for function, code in groups.items():
        kind, *sizes = re.findall(r"WarpgroupLoopIN?\w*?(bfloat16|float16|tfloat32)\w*?Li(\d+)ELi(\d+)E", function)[0]
        rows, columns = map(int, sizes)
        assert re.search(rf"HGMMA\.64x{columns}x{SHAPES[kind][1]}", code), function
        load = r"UTMALDG\.3D" if "Boxed" in function else r"LDGSTS\.E\S*\.128"
        assert re.search(load, code), function
        assert re.search(r"STG\.E\S*\.64" if kind == "tfloat32" else r"STG\.E\S*\.128", code), function
        assert rows * columns < 2**15 or re.search(r"USETMAXREG", code), function


@pytest.mark.parametrize("name", ["gemm.cu.o", "conv.cu.o"])
def test_sums_stay_in_registers(name):
    kinds = ("product_kernel", "warpgroup_kernel", "narrow_kernel")
    products = {f: usage for f, usage in dumped("-res-usage", name).items() if any(kind in f for kind in kinds)}
    assert products
    for function, usage in products.items():
        found = {key: int(value) for key, value in re.findall(r"(\w+):(\d+)", usage)}
        # Producers of gathered operands, which have 88 registers each, may keep a few addresses on the stack.
        addresses = 32 if "WarpgroupLoop" in function and "CorrelationProblem" in function else 0
        assert found["STACK"] + found["LOCAL"] <= addresses, (function, usage)
        if "narrow_kernel" in function:
            continue
        threads = 384 // 2 if "WarpgroupLoop" in function else 128 if "TensorLoop" in function else 256
        assert found["REG"] * threads <= 2**15, (function, usage)  # two blocks fit, or one of warpgroups
