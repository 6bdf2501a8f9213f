"""Data for the viewer of an exposure: where its tiles and overlays are, other exposures that have tiles."""

from __future__ import annotations

import json
from collections.abc import Iterable

TILES = "tiles.js"  # the index in a folder of tiles


def tiles_path(group: str, name: str) -> str:
    """Compose the folder of an exposure's tiles in the site."""
    return f"tiles/{group}/{name}"


def overlay_path(group: str, name: str) -> str:
    """Compose the path of the script of an exposure's overlays in the site."""
    return f"data/overlays/{group}/{name}.js"


def others(places: Iterable[tuple[str, str]], up: str) -> str:
    """Format exposures with tiles, given as group and name, for the viewer; "" if none."""
    found = [
        {"label": n, "tiles": f"{up}{tiles_path(m, n)}/{TILES}", "overlays": up + overlay_path(m, n)}
        for m, n in dict.fromkeys(places)
    ]
    return json.dumps(found) if found else ""
