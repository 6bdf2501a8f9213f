"""Picture in the place of one that could not be made."""

from __future__ import annotations

import textwrap

from matplotlib.figure import Figure

from visql_lib.pictures import style

_WIDTH, _HEIGHT, _HEAD = 1280, 240, 50  # px


@style.styled
def failed_picture(title: str, reason: str) -> Figure:
    """Draw why there is no result.

    Parameters
    ----------
    title : str
        What is missing.
    reason : str
        Why; only its first lines are drawn.
    """
    figure = style.canvas(_WIDTH, _HEIGHT)
    style.heading(figure, title)
    axes = style.panel(figure, (0, 0, _WIDTH, _HEIGHT - _HEAD))
    axes.set_axis_off()
    text = "\n".join(textwrap.wrap(reason, 110)[:6])
    axes.text(0.5, 0.5, text, ha="center", va="center", color=style.VERMILION)
    return figure
