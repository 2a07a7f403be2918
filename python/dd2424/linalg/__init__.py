"""Linear algebra: norms, solutions, factorisations, over the last two dimensions of batches of matrices.

Computed by NumPy's LAPACK; every function is differentiable as often as wanted where its result is.
"""

from dd2424._core import diagonal, matmul
from dd2424._lazy import lazy_getattr
from dd2424.linalg.arrays import LinAlgError
from dd2424.linalg.factor import cholesky, eigh, eigvalsh, qr, svd, svdvals
from dd2424.linalg.lstsq import lstsq
from dd2424.linalg.norm import matrix_norm, norm, vector_norm
from dd2424.linalg.power import cond, matrix_exp, matrix_power, matrix_rank
from dd2424.linalg.products import cross, multi_dot, vander, vecdot
from dd2424.linalg.solve import cholesky_solve, det, inv, logdet, pinv, slogdet, solve, solve_triangular

__all__ = [
    "LinAlgError", "cholesky", "cholesky_solve", "cond", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv",
    "logdet", "lstsq", "matmul", "matrix_exp", "matrix_norm", "matrix_power", "matrix_rank", "multi_dot", "norm",
    "pinv", "qr", "slogdet", "solve", "solve_triangular", "svd", "svdvals", "vander", "vecdot", "vector_norm",
]  # fmt: skip
__getattr__ = lazy_getattr("dd2424.linalg")
