"""How smooth the image of a scene is: the weight of its prior, from the linearised problem's evidence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PER_DECADE = 10  # steps of the search
_WIDEST = 14  # decades
_ROUNDING = 1e-9  # eigenvalues below it, relative, are rounding errors: the data say nothing there


def log_evidence(
    smoothness: NDArray[np.float64], values: NDArray[np.float64], parts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the logarithm of the evidence but for a constant.

    With the prior exp(-lambda |L h|^2 / 2), data of the quadratic form A and right side b, and the
    eigenvalues s and eigenvectors U of L^-T A L^-1, z = U^T L^-T b:
    ln E = sum z^2 / (s + lambda) / 2 + sum ln(lambda / (lambda + s)) / 2.

    Parameters
    ----------
    smoothness : array, shape (m,)
        Values lambda.
    values, parts : array, shape (n,)
        s and z^2.
    """
    lam = np.asarray(smoothness)[:, None]
    return np.asarray(0.5 * (parts / (values + lam) + np.log(lam / (lam + values))).sum(1))


def best_smoothness(
    matrix: NDArray[np.float64],
    rhs: NDArray[np.float64],
    laplacian: NDArray[np.float64],
    others: NDArray[np.float64],
) -> float:
    """Find the weight lambda of the prior lambda |L h|^2 that has the highest evidence.

    Parameters
    ----------
    matrix : array, shape (p, p)
        Normal matrix of nodes and other common parameters, each frame's own eliminated, without the prior.
    rhs : array, shape (p,)
        Right side for the step of the nodes from zero, and of the others from where they are.
    laplacian : array, shape (n, n)
        L.
    others : array, shape (p - n,)
        Weights of the (weak) priors of the others.

    Returns
    -------
    float
        lambda, within the decades in which the data say anything at all.
    """
    n = len(laplacian)
    a, b = matrix[:n, :n], rhs[:n]
    if len(rhs) > n:
        block = matrix[n:, n:] + np.diag(others)
        solved = np.linalg.solve(block, np.column_stack([matrix[n:, :n], rhs[n:]]))
        a, b = a - matrix[:n, n:] @ solved[:, :-1], b - matrix[:n, n:] @ solved[:, -1]
    inverse = np.linalg.inv(laplacian)
    values, vectors = np.linalg.eigh(inverse.T @ (0.5 * (a + a.T)) @ inverse)
    known = values > _ROUNDING * values.max()
    values, parts = values[known], ((vectors.T @ (inverse.T @ b)) ** 2)[known]
    top = float(np.log10(max(values.max(), 1e-300)))
    tried = 10 ** np.linspace(top - _WIDEST, top + 2, _PER_DECADE * (_WIDEST + 2) + 1)
    return float(tried[int(log_evidence(tried, values, parts).argmax())])
