"""The style of all pictures: sizes, colours, colour maps, labels and the helpers that apply them.

Colours are of the Okabe-Ito set and maps change in lightness, so that all of
them can be read by colour-blind people; a status is never told by colour alone.
Pictures are laid out in pixels of 100 dots per inch. There is no global state:
figures are made directly, and `styled` sets matplotlib's parameters only while
one is being drawn.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, NullFormatter
from numpy.typing import NDArray

P = ParamSpec("P")

LAYOUT_DPI = 100  # what "px" means in this room
FONT = "DejaVu Sans"

INK = "#222222"
MUTED = "#6b6b6b"
LIGHT = "#c9ced6"
GAP = "#ffffff"
BLUE = "#0072b2"
GREEN = "#009e73"
ORANGE = "#e69f00"
VERMILION = "#d55e00"


class StatusStyle(NamedTuple):
    """The style of exposures of one status: never by colour alone."""

    colour: str
    marker: str
    text: str


STATUS: dict[str, StatusStyle] = {
    "ok": StatusStyle(GREEN, "o", "ok"),
    "warn": StatusStyle(ORANGE, "D", "warning"),
    "error": StatusStyle(VERMILION, "s", "error"),
    "failed": StatusStyle(INK, "X", "failed"),
}

LABELS: dict[str, str] = {
    "FLUX_RADIUS": "FLUX_RADIUS [px]",
    "FLUX_AUTO": "FLUX_AUTO [ADU]",
    "XWORLD": "X, focal plane [deg]",
    "YWORLD": "Y, focal plane [deg]",
    "R2": "R2 [px²]",
    "e1": "e1",
    "e2": "e2",
    "tr1": "trefoil 1",
    "tr2": "trefoil 2",
    "com1": "coma 1",
    "com2": "coma 2",
    "day": "mission day [d]",
    "EXPTIME": "exposure time [s]",
}

_PARAMETERS: dict[str, Any] = {
    "font.family": FONT,
    "font.size": 11,
    "axes.labelsize": 11,
    "axes.titlesize": 12,
    "axes.titley": 1.0,  # else every axis is measured to find room above its ticks
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 1.0,
    "axes.grid": False,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "text.color": INK,
    "text.parse_math": False,  # a name with dollar signs is a name
    "legend.fontsize": 10,
    "legend.framealpha": 0.9,
    "lines.linewidth": 1.5,
    "image.interpolation": "nearest",
    "image.origin": "lower",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def styled(function: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw with this style, independent of the caller's matplotlib settings."""

    @functools.wraps(function)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with _parameters():
            return function(*args, **kwargs)

    return drawn


@contextmanager
def _parameters() -> Iterator[None]:
    with mpl.rc_context():
        mpl.rcdefaults()
        for name, value in _PARAMETERS.items():
            mpl.rcParams[name] = value  # type: ignore[index]
        yield


def part_of(name: str, low: float, high: float, bad: str = GAP) -> Colormap:
    """Cut a colour map, so that its faint end differs from the paper."""
    colours = mpl.colormaps[name](np.linspace(low, high, 256))
    return ListedColormap(colours).with_extremes(bad=bad)


COUNTS = part_of("viridis", 0.0, 1.0)
GREY_COUNTS = part_of("Greys", 0.45, 1.0)
RED_COUNTS = part_of("Oranges", 0.6, 1.0)
SIZES = part_of("RdBu_r", 0.05, 0.95)
COMA = part_of("Blues", 0.3, 1.0)
ELLIPTICITY = part_of("Greens", 0.3, 1.0)
TREFOIL = part_of("Reds", 0.3, 1.0)
SHAPES = part_of("viridis", 0.0, 0.97)
STARS = part_of("viridis", 0.0, 1.0, bad="#f4f5f7")
TIMES = part_of("plasma", 0.0, 0.88, bad=MUTED)


def canvas(width: float, height: float) -> Figure:
    """Make an empty figure of `width` x `height` [px]."""
    figure = Figure(figsize=(width / LAYOUT_DPI, height / LAYOUT_DPI), dpi=LAYOUT_DPI)
    FigureCanvasAgg(figure)
    return figure


def size_of(figure: Figure) -> tuple[float, float]:
    """Look up width and height of a figure [px]."""
    width, height = figure.get_size_inches() * LAYOUT_DPI
    return float(width), float(height)


def panel(figure: Figure, box: Sequence[float], **options: Any) -> Axes:
    """Add axes at left, bottom, width, height [px] from the lower left corner."""
    width, height = size_of(figure)
    left, bottom, w, h = box
    return figure.add_axes((left / width, bottom / height, w / width, h / height), **options)


def heading(figure: Figure, text: str, x: float | None = None) -> Text:
    """Write the title at the top, small enough to fit; centred on `x` [px] if given."""
    width, height = size_of(figure)
    at = (x if x is not None else width / 2) / width
    room = 2 * min(at, 1 - at) * width - 20
    size = min(12.0, max(6.0, room / max(len(text), 1) / 0.88))  # a letter is about 0.6 em wide, 1.39 px/pt
    return figure.text(at, 1 - 8 / height, text, ha="center", va="top", fontsize=size)


def colour_bar(
    figure: Figure, mappable: ScalarMappable, box: Sequence[float], label: str, **options: Any
) -> Colorbar:
    """Add a colour bar at left, bottom, width, height [px], with a label that gives the unit."""
    lying = box[2] > box[3]
    bar = figure.colorbar(
        mappable,
        cax=panel(figure, box, label="colour bar"),
        orientation="horizontal" if lying else "vertical",
        **options,
    )
    bar.set_label(label)
    if isinstance(bar.norm, LogNorm):
        bar.formatter = FuncFormatter(lambda value, _: power_of_ten(round(float(np.log10(value)))))
    return bar


def message(axes: Axes, text: str) -> Text:
    """Write in the middle of a panel why it is empty."""
    return axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=15, color=MUTED, zorder=9
    )


def remark_above(axes: Axes, text: str) -> Text:
    """Write a small remark above the right corner of a panel, where it hides no point."""
    text = text.replace("-", "−")
    return axes.text(
        1, 1.008, text, transform=axes.transAxes, ha="right", va="bottom", fontsize=9, color=MUTED
    )


def remark(axes: Axes, text: str, where: str = "lower right") -> None:
    """Write a small remark in a corner of a panel."""
    vertical, horizontal = where.split()
    axes.text(
        0.985 if horizontal == "right" else 0.015,
        0.02 if vertical == "lower" else 0.98,
        text,
        transform=axes.transAxes,
        ha=horizontal,
        va="bottom" if vertical == "lower" else "top",
        fontsize=9,
        color=MUTED,
        zorder=9,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.5},
    )


def count(number: int, what: str) -> str:
    """Format a count, such as ``1,234 stars``, ``1 star`` or ``no stars``."""
    if number == 0:
        return f"no {what}s"
    return f"{number:,} {what}{'' if number == 1 else 's'}"


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power_of_ten(exponent: int) -> str:
    """Format a power of ten, such as ``10⁴``; plain characters draw much faster than a formula."""
    return "10" + str(exponent).translate(_SUPERSCRIPTS)


def log_ticks(axis: Axis, low: float, high: float, plain: bool = False) -> None:
    """Mark an axis that holds decimal logarithms by the numbers themselves.

    Parameters
    ----------
    axis : Axis
        ``axes.xaxis`` or ``axes.yaxis``.
    low, high : float
        Its range, as logarithms.
    plain : bool, optional
        Write 0.5, 1, 2, 5 ... instead of powers of ten.
    """
    decades = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    steps = [(d, m) for d in decades for m in range(1, 10) if low - 1e-9 <= d + np.log10(m) <= high + 1e-9]
    major = [(d, m) for d, m in steps if m in ((1, 2, 5) if plain else (1,))]
    texts = [f"{m * 10.0**d:g}" if plain else power_of_ten(d) for d, m in major]
    axis.set_major_locator(FixedLocator([d + float(np.log10(m)) for d, m in major]))
    axis.set_major_formatter(FixedFormatter(texts))
    axis.set_minor_locator(FixedLocator([d + float(np.log10(m)) for d, m in steps]))
    axis.set_minor_formatter(NullFormatter())


def pixels_of(figure: Figure, dpi: float | None = None) -> NDArray[np.uint8]:
    """Render a figure as pixels: red, green, blue and opacity, shape (height, width, 4), first row on top.

    Parameters
    ----------
    figure : Figure
    dpi : float, optional
        Dots per inch; the figure's own if None.
    """
    own = figure.get_dpi()
    agg = FigureCanvasAgg(figure)
    try:
        figure.set_dpi(dpi or own)
        with _parameters():  # ticks are only made now
            agg.draw()
        return np.asarray(agg.buffer_rgba(), dtype=np.uint8)
    finally:
        figure.set_dpi(own)


def render_pdf(figures: Iterable[Figure], software: str = "VISQL", made: datetime | None = None) -> bytes:
    """Render figures as the pages of a PDF file, one at a time.

    Parameters
    ----------
    figures : iterable of Figure
    software : str, optional
        Kept in the file as what made it.
    made : datetime, optional
        Kept in the file as when; now if None.

    Returns
    -------
    bytes
        The file; empty if there is no figure.
    """
    from matplotlib.backends.backend_pdf import PdfPages

    buffer, pages = io.BytesIO(), 0
    facts = {"Creator": software, "Producer": software, "CreationDate": made or datetime.now(UTC)}
    with PdfPages(buffer, metadata=facts) as file:
        for figure in figures:
            with _parameters():
                file.savefig(figure)
            pages += 1
    return buffer.getvalue() if pages else b""


def render_png(
    figure: Figure, dpi: float | None = None, software: str = "VISQL", made: str | None = None
) -> bytes:
    """Render a figure as the bytes of a PNG file, without transparency; grey ones as grey.

    Parameters
    ----------
    figure : Figure
    dpi : float, optional
        Dots per inch; the figure's own if None, as for zooms, whose pixels are
        those of the detector.
    software : str, optional
        Kept in the file as what made it.
    made : str, optional
        Kept in the file as when; now if None.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    own = figure.get_dpi()
    pixels = pixels_of(figure, dpi)[:, :, :3]
    grey = np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 1], pixels[..., 2])
    info = PngInfo()
    info.add_text("Software", software)
    info.add_text("Creation Time", made or datetime.now(UTC).isoformat(timespec="seconds"))
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if grey else pixels))
    # Level 3 is twice as fast as the default, and noise comes out smaller.
    picture.save(buffer, "PNG", pnginfo=info, dpi=(dpi or own, dpi or own), compress_level=3)
    return buffer.getvalue()
