"""Convolutions forward and backward, each contender in the faster of its memory formats."""

from __future__ import annotations

from typing import Any

from case import Case, fastest, normal
from shapes import CONVOLUTIONS, Convolution

NOTES = """
What limits figures, and what keeps some below their goals. Times are sums of the passes' fastest on two threads:

- *3x3 of stride 2* takes 81 of 144 products by Winograd's F(4x4, 2x2): 25 ms, or 160 GFLOP/s of what is multiplied,
  70 % of the peak. The rest is the way to the points and back. Channels-first images stay direct.
- *Stem* takes 363 of 1323 products by F(3x3, 4x4): 8.1 ms where direct arithmetic at the peak needs 10.5. Sums of 12
  channels alone go to the second-level cache and come back after 12 steps each, which takes as long as the products do.
- *First layer.* Its products at the peak take 1.94 ms, the kernels 2.6, PyTorch 3.2: 1.6x is the most that is left. By
  F(4x4, 3x3) it takes longer, 3.5 ms: the way to the points and back outweighs the products of three channels. The
  forward pass (1.5 ms) moves 34 MB, as its results are read before they are written: 0.9 ms for memory alone. Lines
  brought one band ahead do not show there; the gradient by the weights takes 1.13 ms with them, 1.5 without.
- *1x1 of stride 1.* On one thread 92 % of the peak (59.8 ms; 54.6 at the peak), where PyTorch takes 97 ms to narrow
  and 105 to widen: 1.63x and 1.80x, and at the peak itself 1.78x and 1.93x. What a tile of 14 x 32 sums takes to begin
  and to end is 3 to 5 % at a depth of 64; the rest is memory. On two threads its pages, mapped anew each step, make
  PyTorch's figure vary: 53 to 68 ms to narrow, 65 to 83 to widen.
- *1x1 of stride 2.* Products at the peak take 3.4 ms, the kernels 4.4, PyTorch 7.5; on one thread 6.8, 8.5 and 13.9. A
  step moves 50 MB, of which three quarters of a data gradient of 17 MB are zeros, and results are read before they
  are written: some 75 MB, or 2.1 ms of memory alone. Results that leave around the caches would be faster here, and
  slower in a network, which reads them next. Rows of 16 pixels make tiles of 8, half as large as others.
- *Depthwise* layers move memory: 201 MB in 6.0 ms, 126 MB in 4.4 (stride 2), 50 MB in 1.3 (small). PyTorch's figure has
  two kinds: its results of 32 MB are as large as the C library never keeps, and, unless its heap has such a gap, are
  mapped anew each step, at 8,193 page faults each: 34 ms instead of 14.
"""


def convolution(name: str, sizes: Convolution, torch_goal: float) -> Case:
    """The gradients are those of sum(y * dy); images, of three channels, need none."""
    n, out = sizes.batch, sizes.out
    filters = (sizes.outputs, sizes.inputs // sizes.groups, sizes.kernel, sizes.kernel)

    def program(torch: Any, *operands: Any) -> Any:
        options = {"stride": sizes.stride, "padding": sizes.padding, "groups": sizes.groups}

        def step_in(memory_format: Any) -> Any:
            x, weight, dy = (t.detach().contiguous(memory_format=memory_format) for t in operands)
            leaves = [weight.requires_grad_(), *([x.requires_grad_()] if sizes.inputs > 3 else [])]

            def step() -> list[Any]:
                for leaf in leaves:
                    leaf.grad = None
                y = torch.nn.functional.conv2d(x, weight, **options)
                y.backward(dy)
                return [y, *(leaf.grad for leaf in leaves)]

            return step

        return fastest(step_in(torch.channels_last), step_in(torch.contiguous_format))

    macs = n * sizes.outputs * out**2 * sizes.inputs // sizes.groups * sizes.kernel**2
    return Case(
        f"conv2d {name} ({n}, {sizes.inputs}, {sizes.size}, {sizes.size}) to {sizes.outputs}, forward and backward",
        program=program,
        inputs=normal((n, sizes.inputs, sizes.size, sizes.size), filters, (n, sizes.outputs, out, out)),
        flops=2 * macs * (3 if sizes.inputs > 3 else 2),  # products with the zeros of padding count
        tolerance=256,
        goals={"torch": torch_goal},
    )


CASES = [convolution(name, sizes, goal) for name, (sizes, goal) in CONVOLUTIONS.items()]
