"""Types that signatures share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

Number: TypeAlias = int | float | bool
Dims: TypeAlias = int | Sequence[int] | None
Reduction: TypeAlias = Literal["none", "mean", "sum"] | str
