"""What is made of several operations lands on its operands' device, with the processor's values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import Tensor, distributions as D, nn
from on_gpu import needs_gpu

pytestmark = needs_gpu
F, L = nn.functional, dd2424.linalg
Made = Callable[[Tensor], Any]
# Of a (4, 5) tensor of floats, not whole.
CASES: dict[str, Made] = {
    "tril": lambda x: x.tril(), "triu": lambda x: dd2424.triu(x, 1), "isreal": dd2424.isreal,
    "frexp": dd2424.frexp, "nextafter": lambda x: dd2424.nextafter(x, x + 1), "i0": dd2424.i0,
    "gcd": lambda x: dd2424.gcd((x * 9).int(), (x * 7).int()), "logcumsumexp": lambda x: x.logcumsumexp(1),
    "cov": dd2424.cov, "corrcoef": dd2424.corrcoef, "trapezoid": dd2424.trapezoid,
    "unique": lambda x: dd2424.unique((x * 3).long(), return_inverse=True, return_counts=True),
    "unique rows": lambda x: dd2424.unique((x * 2).long(), dim=0),
    "unique_consecutive": lambda x: dd2424.unique_consecutive((x * 3).long().reshape(-1), return_counts=True),
    "bincount": lambda x: dd2424.bincount((x * 9).abs().long().reshape(-1)), "histc": lambda x: x.histc(5),
    "isin": lambda x: dd2424.isin((x * 3).long(), dd2424.tensor([1, 2], device=x.device)),
    "isin number": lambda x: dd2424.isin((x * 3).long(), 1), "mode": lambda x: (x * 2).round().mode(),
    "median": lambda x: x.median(), "quantile": lambda x: x.quantile(0.3, 1), "kthvalue": lambda x: x.kthvalue(2),
    "bucketize": lambda x: dd2424.bucketize(0.5, x.sort().values[0]), "topk": lambda x: x.topk(2),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 0), "combinations": lambda x: dd2424.combinations(x[0]),
    "repeats": lambda x: dd2424.repeat_interleave((x * 3).abs().long().reshape(-1)),
    "scatter": lambda x: x.scatter(0, (x > 9).long(), 2.0, reduce="add"),
    "scatter_reduce": lambda x: x.scatter_reduce(0, (x > 9).long(), x, "mean"), "vander": lambda x: L.vander(x[0], 3),
    "inv": lambda x: L.inv(x @ x.T + 3 * dd2424.eye(4, device=x.device)), "det": lambda x: L.det(x @ x.T),
    "svdvals": L.svdvals, "matrix_power": lambda x: L.matrix_power(x[:, :4], 3), "matrix_rank": L.matrix_rank,
    "affine_grid": lambda x: F.affine_grid(x.reshape(-1)[:12].reshape(2, 2, 3), [2, 1, 4, 1]),
    "gaussian_nll": lambda x: F.gaussian_nll_loss(x, x + 1, 0.5), "multinomial": lambda x: x.abs().multinomial(3),
    "drawn in turn": lambda x: x.abs().multinomial(3, replacement=True), "randint": lambda x: x.new_empty(9).random_(5),
    "ctc": lambda x: F.ctc_loss(x.log_softmax(-1).reshape(4, 1, 5), (x * 0 + 1)[:1, :2].long(), [4], [2]),
    "fractional pool": lambda x: F.fractional_max_pool2d(x.reshape(1, 1, 4, 5), 2, output_size=2),
    "pack": lambda x: nn.utils.rnn.pack_padded_sequence(x.reshape(4, 5, 1), [2, 4, 1, 3, 3], enforce_sorted=False),
    "attention": lambda x: nn.MultiheadAttention(4, 2).to(x).requires_grad_(False)(
        x[:, :4], x[:, :4], x[:, :4], attn_mask=dd2424.ones(4, 4, device=x.device).triu(1).bool()),
    "bernoulli": lambda x: dd2424.bernoulli(x.sigmoid()), "normal": lambda x: dd2424.normal(x, 1.0),
    "Normal": lambda x: D.Normal(x, 1.0).rsample((2,)), "Uniform": lambda x: D.Uniform(x, x + 1).sample(),
    "Gamma": lambda x: D.Gamma(x.abs() + 1, 1.0).rsample(), "Categorical": lambda x: D.Categorical(logits=x).sample(),
    "Poisson": lambda x: D.Poisson(x.abs()).sample(), "Bernoulli": lambda x: D.Bernoulli(logits=x).sample(),
    "Binomial": lambda x: D.Binomial(5, logits=x).sample(), "entropy": lambda x: D.Normal(x, 1.0).entropy(),
    "spectral_norm": lambda x: nn.utils.spectral_norm(nn.Linear(3, 2).to(x.device)).weight_u,
    "orthogonal": lambda x: nn.init.orthogonal_(x.clone()), "sparse": lambda x: nn.init.sparse_(x.clone(), 0.5),
    "jacobian": lambda x: dd2424.autograd.functional.jacobian(lambda y: (y * y).sum(0), x),
    "hvp": lambda x: dd2424.autograd.functional.hvp(lambda y: (y**3).sum(), x, x),
    "vjp": lambda x: dd2424.autograd.functional.vjp(lambda y: (y**3).sum(), x),
    "jvp": lambda x: dd2424.func.jvp(lambda y: y.exp(), (x,), (x,)),
}  # fmt: skip


def leaves(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for part in value for t in leaves(part)] if isinstance(value, list | tuple) else []


@pytest.mark.parametrize("name", list(CASES))
def test_what_is_made_of_others_stays_where_they_are(rng, name):
    x = dd2424.tensor(rng.normal(size=(4, 5)))
    dd2424.manual_seed(2)
    expected = leaves(CASES[name](x))
    dd2424.manual_seed(2)
    results = leaves(CASES[name](x.cuda()))
    assert len(results) == len(expected) > 0
    for y, z in zip(results, expected, strict=True):
        assert y.is_cuda or name == "pack"
        assert (y.dtype, y.shape) == (z.dtype, z.shape)
        np.testing.assert_allclose(y.tolist(), z.tolist(), rtol=1e-9, atol=1e-12)
