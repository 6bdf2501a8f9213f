"""What the joint fit of a scene takes and gives: frames, the scene itself, options, results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TargetError
from visql_lib.photometry.scene_image import NodeGrid, PointImage

CLOSEST = 0.4  # px, closer point sources cannot be told apart
MARGIN = 4  # px, pixels beyond the image of the scene that are fitted
WINGS = 10  # px, pixels beyond the outermost point source that are fitted at least
FEWEST = 3  # frames


class LocalPSF(PointImage, Protocol):
    """A PSF that may change over the frame."""

    def at(self, x: float, y: float) -> PointImage:
        """Return the PSF at a place, zero-based pixels."""
        ...


@dataclass(frozen=True)
class SceneFrame:
    """Pixels of a frame about the target, and what is known of the frame.

    Parameters
    ----------
    data : array, shape (ny, nx)
        Electrons, sky subtracted; NaN has no weight.
    bad : array of bool, shape (ny, nx)
        Pixels without weight.
    rms : float
        Measured noise of the background [e-].
    matrix : array, shape (2, 3)
        From zero-based pixels (x, y) of the reference to those of the frame.
    psf : LocalPSF
        PSF of the frame.
    coeff : float
        Coefficient of the frame: times it, fluxes are those of the reference.
    x0, y0 : int
        Pixel of the frame that is data[0, 0], zero-based.
    name : str
        For messages.
    """

    data: NDArray[np.floating]
    bad: NDArray[np.bool_]
    rms: float
    matrix: NDArray[np.float64]
    psf: LocalPSF
    coeff: float = 1.0
    x0: int = 0
    y0: int = 0
    name: str = ""


@dataclass(frozen=True)
class Core:
    """The cusp of a galaxy: a point source of one flux in all frames.

    Parameters
    ----------
    x, y : float
        Place, zero-based pixels of the reference.
    flux : float
        In the reference's electrons, not negative.
    """

    x: float
    y: float
    flux: float = 0.0


@dataclass(frozen=True)
class SceneOptions:
    """How a scene is fitted.

    Parameters
    ----------
    image : bool
        Whether there is an image of galaxy and ring.
    radius : int
        Its radius [px of the reference].
    core : "auto", "none" or Core
        Whether the galaxy has a cusp; auto: it begins at the peak of the image after two rounds, and is
        dropped where it is not significant; a `Core`: it begins there.
    fixed : bool
        Keep the positions of the point sources; those of neighbours are fitted nevertheless.
    shift : float
        Prior of the shift of each frame [px].
    smoothness : float or None
        Weight lambda of the squared Laplacian of the image; None: from the evidence.
    rounds : int
        Rounds, at most.
    clip, clip_share : float
        Pixels more than `clip` sigma and `clip_share` of the model off get no weight.
    """

    image: bool = True
    radius: int = 14
    core: Literal["auto", "none"] | Core = "auto"
    fixed: bool = False
    shift: float = 0.5
    smoothness: float | None = None
    rounds: int = 8
    clip: float = 6.0
    clip_share: float = 0.02


@dataclass(frozen=True)
class Scene:
    """What is common to all frames.

    Parameters
    ----------
    positions : array, shape (K + N, 2)
        Point sources of the target, then neighbours; x and y, zero-based pixels of the reference.
    n_sources : int
        K.
    free : array of bool, shape (K + N,)
        Whose positions are fitted.
    grid : NodeGrid
        Nodes of the image; its centre is also that of the pixels that are fitted.
    nodes : array, shape (n,)
        Values of the nodes, the flux of a pixel of the reference [e- of the reference]; empty: no image.
    core : Core or None
        Cusp of the galaxy.
    smoothness : float
        Weight lambda of the squared Laplacian; NaN: no image, or not chosen yet.
    covariance : array, shape (p, p)
        Of nodes, free positions (x, y of each) and core (flux, x, y; none without). Empty: not known.
    half : int
        Pixels within `half` of the centre are fitted.
    """

    positions: NDArray[np.float64]
    n_sources: int
    free: NDArray[np.bool_]
    grid: NodeGrid
    nodes: NDArray[np.float64]
    core: Core | None = None
    smoothness: float = math.nan
    covariance: NDArray[np.floating] = field(default_factory=lambda: np.empty((0, 0)))
    half: int = 18

    @classmethod
    def start(
        cls,
        positions: NDArray[np.floating],
        options: SceneOptions,
        neighbours: NDArray[np.floating] | None = None,
    ) -> Scene:
        """Make the scene that a fit begins with: point sources, no light elsewhere.

        Parameters
        ----------
        positions : array, shape (K, 2)
            Point sources of the target, x and y, zero-based pixels of the reference.
        options : SceneOptions
        neighbours : array, shape (N, 2), optional
            Other stars whose light reaches the pixels that are fitted; each has a flux in each frame, and a
            place that is fitted if it is among these pixels.

        Raises
        ------
        TargetError
            If there are no sources, or two closer than 0.4 px.
        """
        places = np.asarray(positions, float).reshape(-1, 2)
        check_places(places)
        middle = places.mean(0)
        centre = int(np.rint(middle[0])), int(np.rint(middle[1]))
        farthest = int(np.ceil(np.abs(places - np.array(centre)).max()))
        half = max(options.radius + MARGIN, farthest + WINGS)
        grid = NodeGrid(centre, options.radius)
        nodes = np.zeros(len(grid) if options.image else 0)
        core = options.core if isinstance(options.core, Core) else None
        near = np.empty((0, 2)) if neighbours is None else np.asarray(neighbours, float).reshape(-1, 2)
        inside = np.abs(near - np.array(centre)).max(1, initial=0) < half - 1
        free = np.concatenate([np.full(len(places), not options.fixed), inside])
        return cls(np.concatenate([places, near]), len(places), free, grid, nodes, core, half=half)

    @property
    def sources(self) -> NDArray[np.float64]:
        """Places (K, 2) of the target's point sources."""
        return self.positions[: self.n_sources]

    @property
    def places_free(self) -> int:
        """Number of free coordinates of point sources."""
        return 2 * int(self.free.sum())

    @property
    def n_common(self) -> int:
        """Number of parameters common to all frames."""
        return len(self.nodes) + self.places_free + (3 if self.core is not None else 0)

    @property
    def peak(self) -> tuple[float, float] | None:
        """Place of the brightest node farther than 1.5 px from all point sources; None: none is positive."""
        if not len(self.nodes):
            return None
        far = np.hypot(*(self.grid.places[:, None] - self.positions[None]).transpose(2, 0, 1)).min(1) > 1.5
        values = np.where(far, self.nodes, -np.inf)
        best = int(values.argmax())
        x, y = self.grid.places[best]
        return (float(x), float(y)) if values[best] > 0 else None


def check_places(places: NDArray[np.float64], names: Sequence[str] = ()) -> None:
    """Refuse point sources that cannot be told apart.

    Raises
    ------
    TargetError
        If there is none, a place is no number, or two are closer than 0.4 px.
    """
    if not len(places):
        raise TargetError("no point source: name at least one")
    label = list(names) or [str(k + 1) for k in range(len(places))]
    for k, place in enumerate(places):
        if not np.isfinite(place).all():
            raise TargetError(f"point source {label[k]}: its place is not known")
        near = np.hypot(*(places[:k] - place).T)
        if k and near.min() < CLOSEST:
            raise TargetError(
                f"point sources {label[int(near.argmin())]} and {label[k]} are {near.min():.2f} px apart: "
                f"closer than {CLOSEST} px they cannot be told apart; give one of them"
            )


@dataclass(frozen=True)
class SceneFluxes:
    """What the fit of one frame gave; fluxes and errors in the frame's own electrons.

    Parameters
    ----------
    flux, err, err_common : array, shape (K,)
        Fluxes of the point sources; error of the frame with the scene as it is; error through the scene.
    covariance, covariance_common : array, shape (K, K)
        Of both kinds.
    shift : array, shape (2,)
        Shift of the frame against its transform [px], x and y.
    background : float
        Constant under the target.
    chi2 : float
        chi^2 per pixel with weight.
    residual : array, shape (s, s)
        (data - model) / sigma; NaN: no weight.
    model : array, shape (s, s)
        Model in the frame's electrons.
    origin : tuple of int
        Pixel (x, y) of the frame that is residual[0, 0].
    reason : str
        Why there are no fluxes; "": there are.
    """

    flux: NDArray[np.float64]
    err: NDArray[np.float64]
    err_common: NDArray[np.float64]
    covariance: NDArray[np.float64]
    covariance_common: NDArray[np.float64]
    shift: NDArray[np.float64]
    background: float
    chi2: float
    residual: NDArray[np.float32]
    model: NDArray[np.float32]
    origin: tuple[int, int]
    reason: str = ""

    @classmethod
    def none(cls, n_sources: int, reason: str) -> SceneFluxes:
        """Make the result of a frame that could not be fitted."""
        nan, square = np.full(n_sources, np.nan), np.full((n_sources, n_sources), np.nan)
        empty = np.empty((0, 0), np.float32)
        shift = np.full(2, np.nan)
        return cls(nan, nan, nan, square, square, shift, math.nan, math.nan, empty, empty, (0, 0), reason)


@dataclass(frozen=True)
class SceneResult:
    """A fitted scene, and the fluxes of all frames, in their order."""

    scene: Scene
    frames: tuple[SceneFluxes, ...]
    rounds: int
    notes: tuple[str, ...] = ()

    @property
    def flux(self) -> NDArray[np.float64]:
        """Fluxes (J, K) in the frames' own electrons; NaN: not measured."""
        return np.array([frame.flux for frame in self.frames])

    @property
    def err(self) -> NDArray[np.float64]:
        """Their errors (J, K), of the frames with the scene as it is."""
        return np.array([frame.err for frame in self.frames])

    @property
    def err_common(self) -> NDArray[np.float64]:
        """Their errors (J, K) through the scene, the same for all frames."""
        return np.array([frame.err_common for frame in self.frames])

    @property
    def chi2(self) -> float:
        """Median chi^2 per pixel of the frames."""
        values = [frame.chi2 for frame in self.frames if not frame.reason]
        return float(np.median(values)) if values else math.nan
