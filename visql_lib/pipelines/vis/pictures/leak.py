"""Solar X-rays on the detectors against the angles to the Sun and its flux: where does light leak in?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from visql_lib.pictures import style
from visql_lib.pictures.ranges import Range, finite
from visql_lib.pipelines.vis.pictures.radiation_month import log_span
from visql_lib.radiation.leak import Leakage

_SAA, _ALPHA, _FLUX = (85.0, 112.0), (-10.0, 10.0), (1e-9, 1e-5)  # usual ranges
_RATES: Range = (1e-4, 1.0)  # cm-2 s-1
_MARGIN = 1.0  # deg
_ENDS = ("SAA_MIN", "SAA_MAX", "ALPHA_MIN", "ALPHA_MAX")


@style.styled
def leak_picture(
    exposures: Mapping[str, NDArray], found: Leakage, rows: Mapping[str, NDArray], *, title: str = ""
) -> Figure:
    """Draw where light leaks in (SAA x ALPHA), and how much of it against the Sun's X-ray flux.

    Parameters
    ----------
    exposures : mapping of arrays, shape (n,)
        SAA, ALPHA [deg], GOES_FLUX [W m-2] of every exposure; NaN where not known.
    found : Leakage
        Of the same exposures.
    rows : mapping of arrays, shape (m,)
        LEAK: bins with X-rays per unit of flux, or upper limits.
    title : str, optional
    """
    figure = style.canvas(1400, 760)
    style.heading(figure, title)
    saa, alpha, flux = (np.asarray(exposures[n], dtype=float) for n in ("SAA", "ALPHA", "GOES_FLUX"))
    boxes = ((80, 130, 500, 560), (815, 130, 470, 560))
    _draw_angles(figure, boxes[0], saa, alpha, flux, found, rows)
    _draw_flux(figure, boxes[1], saa, flux, found)
    height = style.size_of(figure)[1]
    text = "\n".join(answer(rows, int((~_known(saa, alpha, flux, found)).sum())))
    figure.text(0.5, 14 / height, text, ha="center", va="bottom", fontsize=11.5)
    return figure


def _known(saa: NDArray, alpha: NDArray, flux: NDArray, found: Leakage) -> NDArray[np.bool_]:
    return np.isfinite(saa) & np.isfinite(alpha) & (flux > 0) & np.isfinite(found.rate)


def answer(rows: Mapping[str, NDArray], unknown: int = 0) -> list[str]:
    """Describe at which angles light leaks in, and how many exposures are inconclusive."""
    whole = np.isinf(np.asarray(rows["FLUX_MAX"], dtype=float))
    detected = whole & np.asarray(rows["DETECTED"], dtype=bool)
    ratio = np.asarray(rows["RATIO"], dtype=float)
    total = int(np.asarray(rows["N_EXPOSURES"])[whole].sum())
    rest = f"{style.count(unknown, 'exposure')} without angles, flux or rates" if unknown else ""
    tail = "; ".join(filter(None, [f"of {style.count(total, 'exposure')}", rest]))
    if not total:
        return ["No exposure with known angles, flux of the Sun and rates" + (f" ({rest})" if rest else "")]
    if not detected.any():
        return [f"No light leaks in at any angle seen ({tail})"]
    best = int(np.argmax(np.where(detected, ratio, -np.inf)))
    inside = {n: np.asarray(rows[n])[detected] for n in (*_ENDS, "N_LIT", "N_EXPOSURES")}
    where = [
        inside["SAA_MIN"].min(),
        inside["SAA_MAX"].max(),
        inside["ALPHA_MIN"].min(),
        inside["ALPHA_MAX"].max(),
    ]
    illuminated, seen = int(inside["N_LIT"].sum()), int(inside["N_EXPOSURES"].sum())
    bins = style.count(int(detected.sum()), "bin")
    return [
        f"Light leaks in within {_angles(where)} ({bins}, {illuminated} of {seen} lit),"
        f" most per flux at {_angles([rows[n][best] for n in _ENDS])}",
        f"{illuminated} lit {tail}",
    ]


def _angles(ends: Sequence[float]) -> str:
    s0, s1, a0, a1 = ends
    return f"SAA {s0:g} to {s1:g}°, ALPHA {a0:g} to {a1:g}°".replace("-", "−")


def _draw_angles(
    figure: Figure,
    box: tuple[float, float, float, float],
    saa: NDArray,
    alpha: NDArray,
    flux: NDArray,
    found: Leakage,
    rows: Mapping[str, NDArray],
) -> None:
    """Draw bins coloured by X-rays per flux, hatched where only a limit is known, and the exposures."""
    axes = style.panel(figure, box)
    known = _known(saa, alpha, flux, found)
    axes.set_xlim(*_around(saa[known], _SAA))
    axes.set_ylim(*_around(alpha[known], _ALPHA))
    axes.set_xlabel("SAA, boresight to Sun [deg]")
    axes.set_ylabel("ALPHA, roll from the Sun [deg]")
    axes.grid(True)
    axes.set_axisbelow(True)
    whole = np.isinf(np.asarray(rows["FLUX_MAX"], dtype=float))
    detected = whole & np.asarray(rows["DETECTED"], dtype=bool)
    ratio = np.asarray(rows["RATIO"], dtype=float)
    norm = LogNorm(*_decades(ratio[detected]))
    for chosen, look in (
        (whole & ~detected, {"facecolor": "#eef0f3", "edgecolor": style.LIGHT, "hatch": "////"}),
        (detected, {"cmap": style.COUNTS, "norm": norm, "edgecolor": "white"}),
    ):
        boxes = PatchCollection(_rectangles(rows, np.flatnonzero(chosen)), linewidth=0.4, zorder=1.2, **look)
        if chosen is detected:
            boxes.set_array(ratio[detected])
        axes.add_collection(boxes, autolim=False)
    unilluminated, illuminated = known & ~found.illuminated, known & found.illuminated
    size = 4.5 if known.sum() <= 200 else 2.5
    axes.plot(
        saa[unilluminated],
        alpha[unilluminated],
        "o",
        color=style.MUTED,
        mfc="none",
        mew=0.6,
        ms=size,
        zorder=3,
    )
    axes.plot(
        saa[illuminated],
        alpha[illuminated],
        "o",
        color=style.VERMILION,
        mec="white",
        mew=0.4,
        ms=size + 1.5,
        zorder=3,
    )
    _explain(axes, int(unilluminated.sum()), int(illuminated.sum()))
    if not known.any():
        style.message(axes, "angles or flux not known")
    bar = (box[0] + box[2] + 16, box[1], 20, box[3])
    colours = style.colour_bar(figure, ScalarMappable(norm, style.COUNTS), bar, "")
    colours.set_label("X-rays per flux of the Sun [cm⁻² s⁻¹ / (W m⁻²)]")


def _rectangles(rows: Mapping[str, NDArray], which: NDArray[np.intp]) -> list[Rectangle]:
    ends = [np.asarray(rows[n], dtype=float)[which] for n in _ENDS]
    return [Rectangle((x0, y0), x1 - x0, y1 - y0) for x0, x1, y0, y1 in zip(*ends, strict=True)]


def _explain(axes: Axes, unilluminated: int, illuminated: int) -> None:
    handles = [
        Line2D(
            [], [], ls="none", marker="o", color=style.VERMILION, mec="white", label=f"lit: {illuminated}"
        ),
        Line2D(
            [], [], ls="none", marker="o", color=style.MUTED, mfc="none", label=f"not lit: {unilluminated}"
        ),
        Rectangle((0, 0), 1, 1, fc="#eef0f3", ec=style.LIGHT, hatch="////", label="upper limit only"),
    ]
    axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)


def _around(values: NDArray, known: Range) -> Range:
    """Compute the whole degrees around the values, the usual range without any."""
    if not len(values):
        return known
    return float(np.floor(values.min()) - _MARGIN), float(np.ceil(values.max()) + _MARGIN)


def _decades(values: NDArray) -> Range:
    """Compute the range of whole decades around positive values."""
    data = finite(values)
    data = data[data > 0]
    if not len(data):
        return 1e3, 1e6
    low, high = np.floor(np.log10(data.min())), np.ceil(np.log10(data.max()))
    return float(10.0**low), float(10.0 ** max(high, low + 2))


def _draw_flux(
    figure: Figure, box: tuple[float, float, float, float], saa: NDArray, flux: NDArray, found: Leakage
) -> None:
    """Draw X-rays on the detectors against the Sun's flux, coloured by SAA, and upper limits."""
    axes = style.panel(figure, box)
    known = np.isfinite(found.rate) & (flux > 0)
    x = np.log10(np.where(known, flux, 1.0))
    value = np.where(found.illuminated, found.rate, found.limit)
    y = np.log10(np.where(known, np.maximum(value, 1e-12), 1.0))
    x_range = log_span(x[known], _FLUX)
    y_range = log_span(y[known], _RATES)
    axes.set_xlim(*x_range)
    axes.set_ylim(*y_range)
    style.log_ticks(axes.xaxis, *x_range)
    style.log_ticks(axes.yaxis, *y_range)
    axes.set_xlabel("X-ray flux of the Sun, GOES 0.05–0.4 nm [W m⁻²]")
    axes.set_ylabel("solar X-rays, mean of the detectors [cm⁻² s⁻¹]")
    axes.grid(True)
    axes.set_axisbelow(True)
    unilluminated, illuminated = known & ~found.illuminated, known & found.illuminated
    norm = Normalize(*_around(finite(saa), _SAA))
    look: dict[str, Any] = {"cmap": style.TIMES, "norm": norm, "plotnonfinite": True, "zorder": 3}
    axes.scatter(
        x[unilluminated],
        y[unilluminated],
        marker="v",
        s=12,
        facecolors="none",
        edgecolors=style.MUTED,
        lw=0.6,
        zorder=2,
    )
    error = np.stack([x, np.log10(value + found.error), x, np.log10(np.maximum(value - found.error, 1e-12))])
    ends = error.T[illuminated].reshape(-1, 2, 2)
    axes.add_collection(LineCollection(list(ends), colors="#9a9a9a", linewidths=0.7), autolim=False)
    axes.scatter(x[illuminated], y[illuminated], c=saa[illuminated], s=24, linewidths=0, **look)
    handle = Line2D(
        [], [], ls="none", marker="v", color=style.MUTED, mfc="none", ms=5, label="not lit: limit"
    )
    axes.legend(handles=[handle], loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    if not known.any():
        style.message(axes, "flux of the Sun not known")
    colours = ScalarMappable(norm, style.TIMES)
    style.colour_bar(figure, colours, (box[0] + box[2] + 16, box[1], 20, box[3]), "SAA [deg]")
