"""The image-quality score: how far an exposure's PSF is from that of good days."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.instruments.facts import ScoreReference


def image_quality_score(R2: ArrayLike, e1: ArrayLike, e2: ArrayLike, reference: ScoreReference) -> NDArray:
    """Return the image-quality score of exposures (docs/measurements.md, section 3).

    The squared Mahalanobis distance of (R2, e1) plus that of e2 from a calibration
    of good exposures: ``(e2-m_e2)^2/v + (R2-m_R)^2 C11 + 2 (R2-m_R)(e1-m_e1) C12
    + (e1-m_e1)^2 C22``, where C is the inverse of the covariance of (R2, e1).

    Parameters
    ----------
    R2, e1, e2 : array_like
        Medians of the exposures [px^2, dimensionless, dimensionless].
    reference : ScoreReference
        Centre and covariance of the calibration.

    Returns
    -------
    array
        Scores, dimensionless, 0 at the centre; NaN where a median is NaN.
    """
    d_r, d_1, d_2 = (
        np.asarray(values, dtype=float) - centre
        for values, centre in ((R2, reference.R2), (e1, reference.e1), (e2, reference.e2))
    )
    v_rr, v_r1, v_11 = reference.cov_R2_R2, reference.cov_R2_e1, reference.cov_e1_e1
    # The inverse of a 2x2 matrix, written out.
    distance = (d_r**2 * v_11 - 2 * d_r * d_1 * v_r1 + d_1**2 * v_rr) / (v_rr * v_11 - v_r1**2)
    return np.asarray(d_2**2 / reference.var_e2 + distance)
