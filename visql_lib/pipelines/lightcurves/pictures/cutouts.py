"""Stamps with their models: data, model, residual in sigma, masks; PSFs with their surface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from visql_lib.pictures import style

SIGMAS = 5.0  # the residuals reach from -5 to 5 sigma
# Bits of the masks of stamps: name and colour; pixels may have several, the last one is drawn.
MASKS: Mapping[int, tuple[str, str]] = {
    1: ("bad, or outside the frame", style.INK),
    2: ("cosmic ray", style.VERMILION),
    4: ("saturated", style.ORANGE),
    8: ("light of a neighbour", "#56b4e9"),
    16: ("off the model, no weight", "#cc79a7"),
}
_NO_PIXEL = "#d9dce1"
_GREY = style.part_of("gray", 0.0, 1.0, bad=_NO_PIXEL)
_OFF = style.part_of("RdBu_r", 0.0, 1.0, bad=_NO_PIXEL)
_MARK = "#ff7f1f"
_SOFT = 3.0  # sigma of the sky, where the stretch turns from linear to logarithmic

Image = NDArray[np.float64]
Places = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Cutout:
    """A stamp, what the fit made of it, and what it hides.

    Parameters
    ----------
    name : str
        Star or target.
    data, sigma : arrays, shape (s, s)
        Electrons, sky subtracted, and their noise; NaN where there is no pixel.
    bad : array of int, shape (s, s)
        Bits of `MASKS`.
    model : array, shape (s, s), optional
        Electrons; None without a fit.
    caption : str
        Written below the name.
    places : mapping
        Names of point sources -> x, y in the stamp, zero-based.
    """

    name: str
    data: Image
    sigma: Image
    bad: NDArray[np.integer]
    model: Image | None = None
    caption: str = ""
    places: Places = field(default_factory=dict)

    @property
    def off(self) -> Image | None:
        """Data less model in units of sigma, NaN where masked; None without a model."""
        if self.model is None:
            return None
        return np.where(self.bad == 0, (self.data - self.model) / self.sigma, np.nan)


@dataclass(frozen=True)
class PSFView:
    """The PSF of a frame: its image (sum 1), what the surface adds to the Moffat, and a line of figures."""

    image: Image
    surface: Image | None = None
    text: str = ""


@style.styled
def frame_picture(title: str, target: Cutout | None, psf: PSFView | None, why: str = "") -> Figure:
    """Draw the target in a frame: stamp, model, residual in sigma; masks, PSF and its surface.

    Parameters
    ----------
    title : str
        Frame, time, seeing.
    target : Cutout or None
        None where the frame has no stamp.
    psf : PSFView or None
        None where the frame has no PSF.
    why : str, optional
        Why something is missing.
    """
    side, gap, left = 360, 100, 30
    figure = style.canvas(left + 3 * (side + gap) - 6, 56 + 2 * side + 76 + 64)
    style.heading(figure, title)
    height = style.size_of(figure)[1]

    def box(column: int, row: int) -> tuple[float, float, float, float]:
        return (left + column * (side + gap), height - 56 - (row + 1) * side - row * 76, side, side)

    panels = [[style.panel(figure, box(c, r)) for c in range(3)] for r in range(2)]
    for axes, text in zip((a for row in panels for a in row), _TITLES, strict=True):
        axes.set_title(text, fontsize=11, pad=5)
    _target(figure, panels, target, why, box)
    _psf(figure, panels[1][1:], psf, why, box)
    return figure


_TITLES = ("data", "model", "residual", "masks", "PSF", "surface")
Box = Callable[[int, int], tuple[float, float, float, float]]


def _target(
    figure: Figure, panels: Sequence[Sequence[Axes]], target: Cutout | None, why: str, box: Box
) -> None:
    if target is None:
        for axes in (*panels[0], panels[1][0]):
            _nothing(axes, why or "no stamp")
        return
    colours = stretch(target)
    bar = _beside(box(0, 0))
    show(panels[0][0], target.data, colours, soft=soft_of(target))
    mark(panels[0][0], target.places)
    _bar(figure, colours, bar, target)
    if target.model is None:
        for axes in panels[0][1:]:
            _nothing(axes, why or "no model")
    else:
        show(panels[0][1], target.model, colours, soft=soft_of(target))
        off = ScalarMappable(Normalize(-SIGMAS, SIGMAS), _OFF)
        known = target.off if target.off is not None else np.empty((0, 0))
        show(panels[0][2], known, off)
        mark(panels[0][2], target.places)
        style.colour_bar(figure, off, _beside(box(2, 0)), "σ")
        rms = float(np.sqrt(np.nanmean(known**2))) if np.isfinite(known).any() else float("nan")
        panels[0][2].set_title(f"residual, rms {rms:.2f} σ", fontsize=11, pad=5)
    _masks(panels[1][0], target)


def _beside(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    return (box[0] + box[2] + 8, box[1], 12, box[3])


def stretch(cutout: Cutout) -> ScalarMappable:
    """Choose the grey levels of a stamp: asinh of what is above three sigma of its background."""
    soft = soft_of(cutout)
    known = cutout.data[(cutout.bad == 0) & np.isfinite(cutout.data)]
    top = float(known.max()) if len(known) else soft
    return ScalarMappable(Normalize(-1.0, max(float(np.arcsinh(top / soft)), 1.0)), _GREY)


def soft_of(cutout: Cutout) -> float:
    """Return where the stretch of a stamp turns from linear to logarithmic [electron]."""
    known = cutout.sigma[np.isfinite(cutout.sigma) & (cutout.sigma > 0)]
    return _SOFT * float(np.min(known)) if len(known) else 1.0


def _bar(figure: Figure, colours: ScalarMappable, box: tuple[float, ...], cutout: Cutout) -> None:
    soft = soft_of(cutout)
    bar = style.colour_bar(figure, colours, box, "electron")
    top = float(np.sinh(colours.norm.vmax or 1.0)) * soft
    ticks = [0.0, *(m * 10.0**d for d in range(7) for m in (1, 3) if soft < m * 10.0**d < top)]
    bar.set_ticks([float(np.arcsinh(t / soft)) for t in ticks], labels=[f"{t:g}" for t in ticks])


def show(
    axes: Axes,
    image: Image,
    colours: ScalarMappable,
    *,
    soft: float = 0.0,
    extent: tuple[float, float, float, float] | None = None,
) -> None:
    """Draw an image in a panel without ticks, stretched by asinh(image / soft), if `soft` is not 0."""
    stretched = np.ma.masked_invalid(np.arcsinh(image / soft) if soft else image)
    axes.imshow(colours.to_rgba(stretched, bytes=True)[..., :3], aspect="equal", extent=extent)
    if extent is None:
        axes.set_xticks([])
        axes.set_yticks([])


def mark(axes: Axes, places: Places) -> None:
    """Write the names of point sources beside small crosses."""
    look: dict[str, Any] = {"textcoords": "offset points", "color": _MARK, "fontsize": 10, "weight": "bold"}
    for name, (x, y) in places.items():
        axes.plot([x], [y], "+", color=_MARK, ms=8, mew=1.2)
        axes.annotate(name, (x, y), xytext=(-14, -14) if name == "core" else (4, 4), **look)


def _masks(axes: Axes, cutout: Cutout) -> None:
    shown = np.zeros(cutout.bad.shape, dtype=int)
    for k, bit in enumerate(MASKS, 1):
        shown[(cutout.bad & bit) != 0] = k
    colours = ListedColormap(["#f4f5f7", *(colour for _, colour in MASKS.values())])
    axes.imshow(shown, cmap=colours, vmin=-0.5, vmax=len(MASKS) + 0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    here = [(k, text, colour) for k, (text, colour) in enumerate(MASKS.values(), 1) if (shown == k).any()]
    handles = [Patch(color=colour, label=f"{text}: {int((shown == k).sum())} px") for k, text, colour in here]
    if handles:
        look = {"fontsize": 8.5, "handlelength": 1.0, "frameon": False, "ncols": 2, "columnspacing": 1.0}
        axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(-0.02, 0.0), borderaxespad=0.3, **look)
    else:
        axes.set_xlabel("no pixel masked", fontsize=9, color=style.MUTED)


def _psf(figure: Figure, panels: Sequence[Axes], psf: PSFView | None, why: str, box: Box) -> None:
    if psf is None:
        for axes in panels:
            _nothing(axes, why or "no PSF")
        return
    top = float(np.nanmax(psf.image))
    colours = ScalarMappable(Normalize(-4.0, 0.0), style.part_of("viridis", 0.0, 1.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        show(panels[0], np.log10(np.maximum(psf.image / top, 1e-9)), colours)
    style.colour_bar(figure, colours, _beside(box(1, 1)), "log10 of the peak")
    if psf.text:
        panels[0].set_xlabel(psf.text, fontsize=9, color=style.MUTED)
    if psf.surface is None or not np.isfinite(psf.surface).any():
        _nothing(panels[1], "no surface")
        return
    share = 100.0 * psf.surface / top
    far = max(float(np.nanmax(np.abs(share))), 1e-6)
    off = ScalarMappable(Normalize(-far, far), _OFF)
    show(panels[1], share, off)
    style.colour_bar(figure, off, _beside(box(2, 1)), "% of the PSF's peak")


def _nothing(axes: Axes, text: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    said = text if len(text) < 34 else "\n".join(_folded(text, 34))
    axes.text(
        0.5, 0.5, said, transform=axes.transAxes, ha="center", va="center", fontsize=12, color=style.MUTED
    )


def _folded(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width)


@style.styled
def grid_picture(title: str, cutouts: Sequence[Cutout], nothing: str = "no stamps") -> Figure:
    """Draw stamps beside each other, below each its model and its residual in sigma.

    Parameters
    ----------
    title : str
    cutouts : sequence of Cutout
        Such as the PSF stars of a frame, or the target at quantiles of seeing; each has its own grey levels.
    nothing : str, optional
        What is said if there are none.
    """
    n = max(len(cutouts), 1)
    side = min(210, max(96, 1500 // n))
    left, gap = 76, 8
    figure = style.canvas(max(left + n * (side + gap) + 90, 560), 92 + 3 * (side + gap) + 20)
    style.heading(figure, title)
    width, height = style.size_of(figure)
    if not cutouts:
        _nothing(style.panel(figure, (left, 20, width - 2 * left, 3 * side)), nothing)
        return figure
    off = ScalarMappable(Normalize(-SIGMAS, SIGMAS), _OFF)
    bottom = height - 92 - 3 * (side + gap)
    for r, text in enumerate(("data", "model", "residual")):
        # One panel for a row of stamps: a panel costs much more time than an image.
        axes = style.panel(figure, (left, height - 92 - (r + 1) * (side + gap), n * (side + gap), side))
        axes.set_xlim(0, n * (side + gap))
        axes.set_ylim(0, side)
        for spine in axes.spines.values():
            spine.set_visible(False)
        for k, cutout in enumerate(cutouts):
            _cell(axes, cutout, text, k * (side + gap), side, off)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_ylabel(text)
    style.colour_bar(figure, off, (left + n * (side + gap) + 6, bottom, 12, side), "σ")
    return figure


def _cell(axes: Axes, cutout: Cutout, what: str, x: float, side: float, off: ScalarMappable) -> None:
    """Draw a stamp, its model or its residual in a row of such; above the data are name and caption."""
    image = {"data": cutout.data, "model": cutout.model, "residual": cutout.off}[what]
    if what == "data":
        text = f"{cutout.name}\n{cutout.caption}" if cutout.caption else cutout.name
        axes.text(x + side / 2, side + 5, text, ha="center", va="bottom", fontsize=9)
    if image is None:
        axes.text(
            x + side / 2, side / 2, "no model", ha="center", va="center", fontsize=11, color=style.MUTED
        )
        return
    extent = (x, x + side, 0.0, side)
    if what == "residual":
        show(axes, image, off, extent=extent)
    else:
        show(axes, image, stretch(cutout), soft=soft_of(cutout), extent=extent)


@dataclass(frozen=True)
class ScenePart:
    """An image of a scene: pixels (None: there is none), places of the point sources in it, what it shows."""

    image: Image | None
    places: Places
    text: str
    off: bool = False  # in sigma, about zero


@style.styled
def galaxy_picture(title: str, parts: Sequence[ScenePart], why: str = "") -> Figure:
    """Draw the parts of a scene, such as the galaxy's image h, the deconvolved field, the median residual.

    Parameters
    ----------
    title : str
    parts : sequence of ScenePart
        Images in the reference's axes [electron per pixel of the reference], or in sigma.
    why : str, optional
        Why there is none.
    """
    side, left, gap = 420, 30, 110
    figure = style.canvas(left + len(parts) * (side + gap), 60 + side + 30)
    style.heading(figure, title)
    for k, part in enumerate(parts):
        box = (left + k * (side + gap), 30, side, side)
        axes = style.panel(figure, box)
        axes.set_title(part.text, fontsize=11, pad=5)
        if part.image is None or not np.isfinite(part.image).any():
            _nothing(axes, why or "none")
            continue
        if part.off:
            far = max(1.0, float(np.nanmax(np.abs(part.image))))
            off = ScalarMappable(Normalize(-far, far), _OFF)
            show(axes, part.image, off)
            style.colour_bar(figure, off, _beside(box), "σ")
        else:
            _light(figure, axes, part.image, box)
        mark(axes, part.places)
    return figure


def _light(figure: Figure, axes: Axes, image: Image, box: tuple[float, float, float, float]) -> None:
    colours, soft = _positive(image)
    show(axes, image, colours, soft=soft)
    bar = style.colour_bar(figure, colours, _beside(box), "electron / px of the reference")
    top = float(np.nanmax(image))
    ticks = [0.0, *(m * 10.0**d for d in range(-3, 8) for m in (1, 3) if soft < m * 10.0**d < top)]
    bar.set_ticks([float(np.arcsinh(t / soft)) for t in ticks], labels=[f"{t:g}" for t in ticks])


def _positive(image: Image) -> tuple[ScalarMappable, float]:
    """Choose grey levels of an image without noise: asinh of what is above a hundredth of its peak."""
    top = float(np.nanmax(np.abs(image))) or 1.0
    soft = 0.01 * top
    low = max(float(np.nanmin(image)), -soft)
    return ScalarMappable(
        Normalize(float(np.arcsinh(low / soft)), float(np.arcsinh(top / soft))), _GREY
    ), soft
