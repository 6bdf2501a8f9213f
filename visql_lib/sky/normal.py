"""Normal equations of many exposures that share most of their unknowns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_WEAK = 1e-9  # against one star: lets an exposure of too few stars be solved at all


class NormalEquations:
    """Least squares of unknowns that all exposures share, and four of each exposure.

    Parameters
    ----------
    n_exposures, n_shared : int
        Numbers of exposures and of shared unknowns.
    """

    def __init__(self, n_exposures: int, n_shared: int) -> None:
        self._own = np.zeros((n_exposures, 4, 4)) + _WEAK * np.eye(4)
        self._mixed = np.zeros((n_exposures, 4, n_shared))
        self._shared = np.zeros((n_shared, n_shared))
        self._right_own = np.zeros((n_exposures, 4))
        self._right_shared = np.zeros(n_shared)

    def add(
        self,
        own: NDArray,
        shared: NDArray,
        numbers: NDArray,
        exposure: NDArray,
        right: NDArray,
        weight: NDArray,
    ) -> None:
        """Add n stars of one CCD, both axes.

        Parameters
        ----------
        own, shared : arrays, shapes (2, 4, n), (2, k, n)
            Derivatives by the exposure's unknowns and by k of the shared ones.
        numbers : array, shape (k,)
            Which of the shared unknowns.
        exposure : array, shape (n,)
            Number of the exposure, ascending.
        right : array, shape (2, n)
            What is to be explained.
        weight : array, shape (n,)
            Weights of the stars.
        """
        present, starts = np.unique(exposure, return_index=True)
        root = np.sqrt(weight)
        for e, s, r in zip(own * root, shared, right * root, strict=True):
            works = s.any(axis=1)  # most of them do nothing on the other axis
            s, which = s[works] * root, numbers[works]
            self._shared[np.ix_(which, which)] += s @ s.T
            self._right_shared[which] += s @ r
            for k in np.flatnonzero(e.any(axis=1)):
                self._own[present, k] += np.add.reduceat(e * e[k], starts, axis=1).T
                self._right_own[present, k] += np.add.reduceat(e[k] * r, starts)
                if len(which):
                    self._mixed[present[:, None], k, which] += np.add.reduceat(s * e[k], starts, axis=1).T

    def prior(self, precision: NDArray, so_far: NDArray) -> None:
        """Hold the shared unknowns, with what they were `so_far`, near zero.

        `precision` are inverse variances in units of one star's.
        """
        self._shared[np.diag_indices_from(self._shared)] += precision
        self._right_shared -= precision * so_far

    def hold(self, row: NDArray, weight: float) -> None:
        """Hold a linear combination of the shared unknowns at zero."""
        self._shared += weight * np.outer(row, row)

    def solve(self) -> tuple[NDArray, NDArray]:
        """Solve for the shared unknowns and those of the exposures, shapes (n_shared,), (n_exposures, 4)."""
        n, own_rows = self._shared.shape[0], 4 * len(self._own)
        eliminated = np.linalg.solve(self._own, self._mixed)
        flat = self._mixed.reshape(own_rows, n)
        self._reduced = self._shared - flat.T @ eliminated.reshape(own_rows, n)
        own = np.linalg.solve(self._own, self._right_own[:, :, None])[:, :, 0]
        shared = np.linalg.solve(self._reduced, self._right_shared - flat.T @ own.ravel())
        self._eliminated = eliminated
        return shared, own - eliminated @ shared

    def covariances(self) -> tuple[NDArray, NDArray]:
        """Compute the covariance of the shared unknowns, and of each exposure's, for unit noise."""
        shared = np.linalg.inv(self._reduced)
        own = np.linalg.inv(self._own) + self._eliminated @ shared @ self._eliminated.transpose(0, 2, 1)
        return shared, own
