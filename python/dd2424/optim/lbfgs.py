"""Limited-memory BFGS: a quasi-Newton method for functions that are computed whole."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._grad_mode import enable_grad, no_grad
from dd2424.nn.utils.convert_parameters import parameters_to_vector
from dd2424.optim.optimizer import Closure, Optimizer, Params, check_option

Slope = Callable[[float], tuple[float, Tensor, float]]  # step length -> loss, gradient, slope along the direction


class LBFGS(Optimizer):
    """Steps along -H g, H being the inverse Hessian as the last `history_size` changes of p and g tell it.

    A `step(closure)` makes up to `max_iter` of them; the closure computes loss and gradients anew. It ends where the
    largest |g| is at most `tolerance_grad`, or p and the loss change by less than `tolerance_change`, or after
    `max_eval` closures. line_search_fn: None takes `lr` whole, "strong_wolfe" seeks a length that meets both
    conditions of Wolfe. All parameters are one group.
    Raises: ValueError for several groups, RuntimeError for another line search.
    Source: Nocedal and Wright, "Numerical Optimization", algorithms 7.4, 7.5, 3.5 and 3.6.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_option("LBFGS", "lr", lr)
        if line_search_fn not in (None, "strong_wolfe"):
            raise RuntimeError(f'LBFGS: line_search_fn must be None or "strong_wolfe", got "{line_search_fn}"')
        super().__init__(params, {"lr": lr, "max_iter": max_iter,
                                  "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                                  "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
                                  "history_size": history_size, "line_search_fn": line_search_fn})  # fmt: skip
        if len(self.param_groups) != 1:
            raise ValueError(f"LBFGS: params must be one group, got {len(self.param_groups)}")

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]  # type: ignore[no-any-return]

    def _gradient(self) -> Tensor:
        return parameters_to_vector([p.grad if p.grad is not None else _core.zeros_like(p) for p in self._params])

    def _move(self, origin: Tensor, direction: Tensor, length: float) -> None:
        target, place = _core.add(origin, direction, alpha=length), 0
        for parameter in self._params:
            parameter.copy_(target[place : place + parameter.numel()].view(parameter.shape))
            place += parameter.numel()

    @no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        """Up to `max_iter` steps; returns the loss before the first. Raises: TypeError without a closure."""
        if closure is None:
            raise TypeError("LBFGS: step needs a closure that computes loss and gradients")
        group = self.param_groups[0]
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        evaluated = state["func_evals"]

        def evaluate() -> Any:
            state["func_evals"] += 1
            with enable_grad():
                return closure()

        first = evaluate()
        loss, grad = float(first), self._gradient()
        for iteration in range(group["max_iter"]):
            if _largest(grad) <= group["tolerance_grad"] or state["func_evals"] - evaluated > group["max_eval"]:
                break
            direction = self._direction(state, grad, group["history_size"])
            slope = float(_core.dot(grad, direction))
            if slope > -group["tolerance_change"]:
                break
            state["n_iter"] += 1
            length = group["lr"]
            if state["n_iter"] == 1:
                length *= min(1.0, 1.0 / float(grad.abs().sum()))
            origin = parameters_to_vector(self._params)
            is_last = iteration == group["max_iter"] - 1
            before = loss

            def along(
                length: float, origin: Tensor = origin, direction: Tensor = direction
            ) -> tuple[float, Tensor, float]:
                self._move(origin, direction, length)
                value = float(evaluate())
                gradient = self._gradient()
                return value, gradient, float(_core.dot(gradient, direction))

            state["previous_grad"], state["d"] = grad, direction
            if group["line_search_fn"] is not None:
                length, loss, grad = strong_wolfe(along, length, loss, grad, slope)
                self._move(origin, direction, length)
            elif is_last:  # what the last step leads to is for the next call to compute
                self._move(origin, direction, length)
            else:
                loss, grad, _ = along(length)
            state["t"] = length
            if is_last or abs(loss - before) < group["tolerance_change"]:
                break
            if _largest(direction) * abs(length) <= group["tolerance_change"]:
                break
        return first

    def _direction(self, state: dict[str, Any], grad: Tensor, history_size: int) -> Tensor:
        """-H g by the two loops of algorithm 7.4, after what the last step taught."""
        moves, changes = state.setdefault("old_stps", []), state.setdefault("old_dirs", [])
        if "previous_grad" in state:
            change, move = grad - state["previous_grad"], state["d"] * state["t"]
            curvature = float(_core.dot(change, move))
            if curvature > 1e-10:
                if len(moves) == history_size:
                    moves.pop(0)
                    changes.pop(0)
                moves.append(move)
                changes.append(change)
                state["H_diag"] = curvature / float(_core.dot(change, change))
        q, weights = -grad, []
        for move, change in zip(reversed(moves), reversed(changes), strict=True):
            weight = float(_core.dot(move, q)) / float(_core.dot(change, move))
            weights.append(weight)
            q = _core.add(q, change, alpha=-weight)
        q = q * state.get("H_diag", 1.0)
        for move, change, weight in zip(moves, changes, reversed(weights), strict=True):
            back = float(_core.dot(change, q)) / float(_core.dot(change, move))
            q = _core.add(q, move, alpha=weight - back)
        return q


def _largest(x: Tensor) -> float:
    return float(x.abs().max())


def strong_wolfe(
    along: Slope, length: float, loss: float, grad: Tensor, slope: float, c1: float = 1e-4, c2: float = 0.9
) -> tuple[float, float, Tensor]:
    """A length that lowers the loss enough (c1) and flattens its slope enough (c2): length, loss and gradient there.

    Source: Nocedal and Wright, "Numerical Optimization", algorithms 3.5 (bracketing) and 3.6 (zoom).
    """
    start, start_slope, best = loss, slope, (0.0, loss, slope, grad)
    for tries in range(25):
        value, gradient, here = along(length)
        point = (length, value, here, gradient)
        if not math.isfinite(value) or value > start + c1 * length * start_slope or (tries and value >= best[1]):
            return _zoom(along, best, point, start, start_slope, c1, c2)
        if abs(here) <= -c2 * start_slope:
            return length, value, gradient
        if here >= 0:
            return _zoom(along, point, best, start, start_slope, c1, c2)
        best, length = point, 2 * length
    return best[0], best[1], best[3]


Point = tuple[float, float, float, Tensor]  # length, loss, slope, gradient


def _zoom(
    along: Slope, low: Point, high: Point, start: float, start_slope: float, c1: float, c2: float
) -> tuple[float, float, Tensor]:
    """Narrow [low, high], low being the better end."""
    for _ in range(25):
        length = _minimum_of_cubic(low, high)
        value, gradient, here = along(length)
        point = (length, value, here, gradient)
        if not math.isfinite(value) or value > start + c1 * length * start_slope or value >= low[1]:
            high = point
            continue
        if abs(here) <= -c2 * start_slope:
            return length, value, gradient
        if here * (high[0] - low[0]) >= 0:
            high = low
        low = point
    return low[0], low[1], low[3]


def _minimum_of_cubic(low: Point, high: Point) -> float:
    """Where the cubic with both ends' values and slopes is least, kept off the ends; the middle where it has none."""
    (a, fa, da, _), (b, fb, db, _) = low, high
    middle, margin = (a + b) / 2, 0.1 * abs(b - a)
    if not (math.isfinite(fb) and math.isfinite(db)):
        return middle
    mean = da + db - 3 * (fa - fb) / (a - b)
    square = mean * mean - da * db
    if square < 0:
        return middle
    root = math.copysign(math.sqrt(square), b - a)
    bottom = db - da + 2 * root
    if bottom == 0:
        return middle
    return min(max(b - (b - a) * (db + root - mean) / bottom, min(a, b) + margin), max(a, b) - margin)
