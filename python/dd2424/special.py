"""Special functions under the names of PyTorch's `torch.special`."""

from dd2424._core import digamma, erf, erfc, erfinv, exp2, expm1, lgamma as gammaln, log1p, sigmoid as expit, xlogy
from dd2424._lazy import lazy_getattr
from dd2424.functional.activation import log_softmax, softmax
from dd2424.functional.elementwise import logit, mvlgamma as multigammaln, polygamma, round, sinc
from dd2424.functional.elementwise_special import i0, i0e, i1, i1e, ndtr
from dd2424.functional.reduce import logsumexp

psi = digamma

__all__ = [
    "digamma", "erf", "erfc", "erfinv", "exp2", "expit", "expm1", "gammaln", "i0", "i0e", "i1", "i1e", "log1p",
    "log_softmax", "logit", "logsumexp", "multigammaln", "ndtr", "polygamma", "psi", "round", "sinc", "softmax",
    "xlogy",
]  # fmt: skip
__getattr__ = lazy_getattr("dd2424.special")
