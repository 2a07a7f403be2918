"""The loss of a sequence of labels whose places in the input are not known."""

from __future__ import annotations

from collections.abc import Sequence

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._types import Reduction
from dd2424.functional.loss_reduction import reduce_loss

__all__ = ["ctc_loss"]
_NEVER = -1e30  # the logarithm of a probability of nothing: infinity's own differences are not numbers


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: Reduction = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log of the probability that a sequence, its repeats merged and its blanks left out, reads as the target.

        loss_n = -log sum over alignments a of prod_t exp(log_probs[t, n, a_t])

    "mean" divides each loss by the length of its target, then averages. A target with no alignment gives inf, or 0 with
    `zero_infinity`.
    Shapes: log_probs (T, N, C) or (T, C); targets (N, S), or those of all n one after another (sum of target_lengths,);
    lengths (N,) or (). Raises: RuntimeError for lengths or labels that do not fit.
    Source: Graves et al., "Connectionist Temporal Classification", ICML 2006, section 4.1.
    """
    batched = log_probs.ndim == 3
    if log_probs.ndim not in (2, 3):
        raise RuntimeError(f"ctc_loss: log_probs must be (T, N, C) or (T, C), got {tuple(log_probs.shape)}")
    x = log_probs if batched else log_probs.unsqueeze(1)
    times, labels = _lengths(input_lengths), _lengths(target_lengths)
    _check(x, times, labels, blank)
    losses = _losses(x, _padded(targets, labels, x.shape[2], blank), times, labels, blank)
    impossible = losses > -_NEVER / 2
    losses = losses.masked_fill(impossible, 0.0 if zero_infinity else float("inf"))
    if reduction == "mean":
        sizes = _core.clamp(_core.tensor(labels, dtype=losses.dtype, device=losses.device), 1.0)
        return _core.mean(losses / sizes)
    return reduce_loss(losses if batched else losses.reshape(()), reduction)


def _lengths(given: Tensor | Sequence[int]) -> list[int]:
    if isinstance(given, Tensor):
        return [int(n) for n in given.reshape((-1,)).tolist()]
    return [int(n) for n in given]


def _check(x: Tensor, times: list[int], labels: list[int], blank: int) -> None:
    steps, batch, classes = x.shape
    for name, lengths in (("input_lengths", times), ("target_lengths", labels)):
        if len(lengths) != batch:
            raise RuntimeError(
                f"ctc_loss: {name} must have one length for each of {batch} sequences, got {len(lengths)}"
            )
    if any(not 0 < length <= steps for length in times):
        raise RuntimeError(f"ctc_loss: input_lengths must be from 1 to {steps}, got {times}")
    if min(labels, default=0) < 0:
        raise RuntimeError(f"ctc_loss: target_lengths must be non-negative, got {labels}")
    if not 0 <= blank < classes:
        raise RuntimeError(f"ctc_loss: blank must be from 0 to {classes - 1}, got {blank}")


def _padded(targets: Tensor, labels: list[int], classes: int, blank: int) -> Tensor:
    """Labels as (N, longest), blanks after each sequence's end; checked."""
    longest, flat = max(labels, default=0), targets.ndim == 1
    if flat and targets.numel() != sum(labels):
        raise RuntimeError(
            f"ctc_loss: targets must have the {sum(labels)} labels of all sequences, got {targets.numel()}"
        )
    if not flat and (targets.ndim != 2 or targets.shape[0] != len(labels) or targets.shape[1] < longest):
        raise RuntimeError(f"ctc_loss: targets must be ({len(labels)}, {longest} or more), got {tuple(targets.shape)}")
    given, rows, start = targets.tolist(), [], 0
    for number, length in enumerate(labels):
        row = given[start : start + length] if flat else given[number][:length]
        if any(not 0 <= label < classes or label == blank for label in row):
            raise RuntimeError(f"ctc_loss: targets must be from 0 to {classes - 1} and not blank {blank}, got {row}")
        rows.append(row + [blank] * (longest - length))
        start += length
    return _core.tensor(rows, dtype=_core.int64, device=targets.device).reshape((len(labels), longest))


def _losses(x: Tensor, targets: Tensor, times: list[int], labels: list[int], blank: int) -> Tensor:
    """alpha[n, s]: log of the probability of all alignments of x[:t] to the first s of blank, label, blank, ..."""
    (batch, longest), place = targets.shape, x.device
    states = _core.full((batch, 2 * longest + 1), blank, dtype=_core.int64, device=place)
    states[:, 1::2] = targets.to(place)
    emitted = _core.gather(x, 2, states.unsqueeze(0).expand((x.shape[0], batch, states.shape[1])))
    never = _core.full((batch, 2), _NEVER, dtype=x.dtype, device=place)
    may_skip = (states[:, 2:] != blank) & (states[:, 2:] != states[:, :-2])
    first_two = _core.zeros((batch, 2), dtype=_core.bool, device=place)
    may_skip = _core.cat([first_two, may_skip], 1)[:, : states.shape[1]]
    starts = _core.arange(0, states.shape[1], device=place) < 2
    alpha = _core.where(starts, emitted[0], _NEVER)
    lengths = _core.tensor(times, dtype=_core.int64, device=place).unsqueeze(1)
    for t in range(1, x.shape[0]):
        shifted = _core.cat([never, alpha], 1)
        one, two = shifted[:, 1:-1], _core.where(may_skip, shifted[:, :-2], _NEVER)
        moved = _core.logsumexp(_core.stack([alpha, one, two]), 0) + emitted[t]
        alpha = _core.where(lengths > t, moved, alpha)
    # The end is a blank, or the label before it.
    last = 2 * _core.tensor(labels, dtype=_core.int64, device=place).unsqueeze(1)
    ends = _core.gather(_core.cat([never[:, :1], alpha], 1), 1, _core.cat([last, last + 1], 1))
    return -_core.logsumexp(ends, 1)
