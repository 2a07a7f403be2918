"""Convolutions forward and backward, each contender in the faster of its memory formats."""

from __future__ import annotations

from typing import Any

from case import Case, fastest, normal
from shapes import CONVOLUTIONS, Convolution

NOTES = """
What keeps figures below their goals:

- *Stem, first layer, 3x3 of stride 2.* Their products cannot be saved, and PyTorch multiplies at 60 to 95 % of the peak
  already. Ours run at 95 % (stem), 85 to 90 % (first layer, kernels alone) and 90 to 100 % (stride 2): what is left to
  gain is that. Winograd's filters of stride 2 would save a third of the products, and lose it on images of 16x16, which
  their tiles of 5x5 outputs do not fill.
- *1x1 of stride 2* and *depthwise, small* move 75 and 50 MB a step, and results are read before they are written: some
  100 and 67 MB, of which memory moves 27 to 32 GB a second and the third-level cache holds a third or half. The kernels
  alone, with operands in the caches, take 5.2 of 6.1 ms and 1.1 of 2.2 ms. Results that leave around the caches would
  be faster here, and slower in a network, which reads them next.
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
