"""Registration of two images of a field by their stars: found from nothing, fitted through all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.sky.pairs import mutual_nearest
from visql_lib.sky.search import Found, Lengths, find_field

TRANSFORMS = {"similarity": 4, "affine": 6}  # with their numbers of terms
_LENGTHS = Lengths(bin=8.0, radii=(15.0, 10.0, 7.0, 5.0, 3.5, 2.5), per_unit=1.0)  # px
_BRIGHTEST = 250  # stars of each image that enter the search
_NEAR = 3.0  # deg, of the turns that are tried first: none, and that of a pier flip
_ROUNDS = 10
_CLIP = 4.0  # sigma of a matched star
_RAYLEIGH = 1.1774100225154747  # median distance from the middle of a round Gaussian, in its sigma
_FLOOR = 0.01  # px, of the error of a place
_STRETCH = 0.02  # largest difference of the scale from 1: it is the same camera


@dataclass(frozen=True)
class Places:
    """Stars of one image: zero-based x, y [px], flux, error of x and of y [px]; arrays of shape (n,)."""

    x: NDArray
    y: NDArray
    flux: NDArray
    err: NDArray

    def __len__(self) -> int:
        """Count the stars."""
        return len(self.x)


@dataclass(frozen=True)
class Registration:
    """Where an image lies relative to its reference.

    Attributes
    ----------
    matrix : array, shape (6,)
        From its pixels to the reference's: x' = m0 x + m1 y + m2, y' = m3 x + m4 y + m5, zero-based.
    shift : (float, float)
        Where the middle of the image comes to lie in the reference, less the reference's middle [px].
    turn, scale : float
        Of the axes, from x to y [deg]; length in the reference over length in the image.
    shift_err, turn_err, scale_err : float
        Standard errors (of the shift: per axis), from the scatter of the stars.
    residual : float
        Median distance of the matched stars [px].
    first, second : array of int
        Which stars of image and reference were matched and kept.
    """

    matrix: NDArray
    shift: tuple[float, float]
    turn: float
    scale: float
    shift_err: float
    turn_err: float
    scale_err: float
    residual: float
    first: NDArray
    second: NDArray


def register(
    image: Places,
    reference: Places,
    shapes: tuple[tuple[int, int], tuple[int, int]],
    *,
    transform: str = "similarity",
    tolerance: float = 2.0,
    min_stars: int = 8,
) -> Registration | None:
    """Register an image: find its shift and turn, then fit a transform through all matched stars.

    Any turn is found, shifts up to the size of the image; a mirrored image, another scale or another
    field is not. Turns within 3 deg of none and of 180 deg (a pier flip) are tried first.

    Parameters
    ----------
    image, reference : Places
        Their stars.
    shapes : two pairs of int
        Rows and columns of image and reference.
    transform : str, optional
        ``similarity`` (shift, turn, scale) or ``affine``.
    tolerance : float, optional
        Largest distance of matched stars [px].
    min_stars : int, optional
        Fewer matched stars are no registration.

    Returns
    -------
    Registration or None
        None where chance could have brought as many stars together.
    """
    least = max(min_stars, TRANSFORMS[transform] // 2 + 1)
    if min(len(image), len(reference)) < least:
        return None
    middles = [((n - 1) / 2, (m - 1) / 2) for m, n in shapes]  # x, y
    a, b = ((p.x - mx, p.y - my) for p, (mx, my) in zip((image, reference), middles, strict=True))
    found = _search((*a, image.flux), (*b, reference.flux), shapes, tolerance)
    if found is None:
        return None
    pairs, errors = (found.first, found.second), (image.err, reference.err)
    terms = _solved(a, b, pairs, errors, "similarity")[0]
    for _ in range(_ROUNDS):
        moved = terms[0] @ a + terms[1][:, None]
        last, pairs = pairs, mutual_nearest(moved[0], moved[1], b[0], b[1], tolerance)
        if len(pairs[0]) < least:
            return None
        terms, kept, variances = _solved(a, b, pairs, errors, transform)
        if np.array_equal(last[0], pairs[0]) and np.array_equal(last[1], pairs[1]):
            break
    first, second = pairs[0][kept], pairs[1][kept]
    if len(first) < least:
        return None
    distance = np.hypot(*(terms[0] @ np.stack(a)[:, first] + terms[1][:, None] - np.stack(b)[:, second]))
    made = _described(terms, variances, middles, float(np.median(distance)), (first, second))
    return made if abs(made.scale - 1) < _STRETCH else None


def _search(
    stars: tuple[NDArray, NDArray, NDArray],
    reference: tuple[NDArray, NDArray, NDArray],
    shapes: tuple[tuple[int, int], tuple[int, int]],
    tolerance: float,
) -> Found | None:
    """Find pairs of the brightest stars, positions from the middles [px]; first at the usual turns."""
    top, other = (np.argsort(-s[2], kind="stable")[:_BRIGHTEST] for s in (stars, reference))
    x, y, flux = (column[top] for column in stars)
    x_to, y_to, bright = (column[other] for column in reference)
    reach = float(max(max(shape) for shape in shapes))
    attempts = ((1, reach / 2, _NEAR), (-1, reach / 2, _NEAR), (1, reach, 180.0))
    for sign, offset, roll in attempts:
        found = find_field(
            (sign * x, sign * y, flux),
            (x_to, y_to, -bright),
            offset,
            roll,
            tolerance,
            bend=False,
            lengths=_LENGTHS,
        )
        if found is not None:
            return Found(found.place, top[found.first], other[found.second], found.log_chance)
    return None


Terms = tuple[NDArray, NDArray]  # matrix (2, 2), shift (2,)


def _solved(
    a: tuple[NDArray, NDArray],
    b: tuple[NDArray, NDArray],
    pairs: tuple[NDArray, NDArray],
    errors: tuple[NDArray, NDArray],
    transform: str,
) -> tuple[Terms, NDArray[np.bool_], NDArray]:
    """Fit a transform through pairs by least squares, those far off left out.

    Returns
    -------
    terms, kept, variances : (matrix, shift), array of bool, array of shape (3,)
        Variances of a term of the shift, of the sum of the diagonal terms, of the others' difference.
    """
    first, second = pairs
    x, y = a[0][first], a[1][first]
    goal = np.stack([b[0][second], b[1][second]])
    weight = 1 / (errors[0][first] ** 2 + errors[1][second] ** 2 + _FLOOR**2)
    kept = np.ones(len(first), bool)
    for _ in range(_ROUNDS):
        terms, inverse, count = _least_squares(x, y, goal, weight * kept, transform)
        off = terms[0] @ np.stack([x, y]) + terms[1][:, None] - goal
        scaled = np.sqrt(weight * (off**2).sum(axis=0))
        limit = _CLIP * max(float(np.median(scaled[kept])) / _RAYLEIGH, 1.0)
        last, kept = kept, scaled <= limit
        if np.array_equal(last, kept) or kept.sum() < count:
            break
    free = max(2 * int(kept.sum()) - count, 1)
    chi2 = float((weight * kept * (off**2).sum(axis=0)).sum()) / free
    return terms, kept, inverse * chi2


def _least_squares(
    x: NDArray, y: NDArray, goal: NDArray, weight: NDArray, transform: str
) -> tuple[Terms, NDArray, int]:
    """Solve for a transform; also its variances (see `_solved`) for unit chi^2, and the number of terms."""
    one, nothing, root = np.ones_like(x), np.zeros_like(x), np.sqrt(weight)
    if transform == "similarity":
        design = np.hstack([[x, -y, one, nothing], [y, x, nothing, one]]) * np.tile(root, 2)
        covariance = np.linalg.pinv(design @ design.T)
        p, q, dx, dy = covariance @ design @ (goal * root).ravel()
        shift = (covariance[2, 2] + covariance[3, 3]) / 2
        variances = np.array([shift, 4 * covariance[0, 0], 4 * covariance[1, 1]])
        return (np.array([[p, -q], [q, p]]), np.array([dx, dy])), variances, 4
    design = np.stack([x, y, one]) * root
    covariance = np.linalg.pinv(design @ design.T)
    solved = (covariance @ design @ (goal * root).T).T  # a row for x', one for y'
    both = covariance[0, 0] + covariance[1, 1]
    return (solved[:, :2], solved[:, 2]), np.array([covariance[2, 2], both, both]), 6


def _described(
    terms: Terms,
    variances: NDArray,
    middles: list[tuple[float, float]],
    residual: float,
    pairs: tuple[NDArray, NDArray],
) -> Registration:
    """Put a transform about the middles into words: turn, scale, and the matrix of pixels."""
    turned, shift = terms
    total, difference = turned[0, 0] + turned[1, 1], turned[1, 0] - turned[0, 1]
    power = total**2 + difference**2
    of_turn = np.sqrt(difference**2 * variances[1] + total**2 * variances[2]) / power
    of_scale = np.sqrt((total**2 * variances[1] + difference**2 * variances[2]) / power) / 2
    offset = shift + np.array(middles[1]) - turned @ np.array(middles[0])
    return Registration(
        np.array([*turned[0], offset[0], *turned[1], offset[1]]),
        (float(shift[0]), float(shift[1])),
        float(np.degrees(np.arctan2(difference, total))),
        float(np.sqrt(power)) / 2,
        float(np.sqrt(variances[0])),
        float(np.degrees(of_turn)),
        float(of_scale),
        residual,
        *pairs,
    )
