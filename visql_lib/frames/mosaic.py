"""Quadrants side by side: where each lies in one large picture of the focal plane."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from visql_lib.frames.layout import LinearWCS, QuadrantLayout


def image_corner(layout: QuadrantLayout, wcs: LinearWCS | None = None) -> tuple[int, int]:
    """Return the mosaic position (x, y) [px] of the first image pixel of a quadrant.

    The mosaic is the plane of focal-plane coordinates divided by the pixel
    scale, rounded to whole pixels; (0, 0) is the focal plane's origin.
    """
    wcs = wcs or layout.wcs
    x, y = wcs.to_world(layout.origin[0] + 1, layout.origin[1] + 1)
    return int(np.rint(x / wcs.scale)), int(np.rint(y / wcs.scale))


def bounding_box(layouts: Iterable[QuadrantLayout]) -> tuple[int, int, int, int]:
    """Return x0, y0, x1, y1 [px] of the mosaic that holds the image sections of all `layouts`."""
    corners = []
    for layout in layouts:
        x, y = image_corner(layout)
        rows = layout.image_rows.stop - layout.image_rows.start
        columns = layout.image_columns.stop - layout.image_columns.start
        corners.append((x, y, x + columns, y + rows))
    x0, y0, x1, y1 = np.array(corners).T
    return int(x0.min()), int(y0.min()), int(x1.max()), int(y1.max())
