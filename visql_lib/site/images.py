"""Pages of a group's FITS images, such as stacks: tiles for the viewer, cut when the image changed."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.config.load import digest
from visql_lib.errors import FrameError
from visql_lib.frames.pyramid import Stretch, cut_image, level_and_rms
from visql_lib.images.image import Image, read_image
from visql_lib.products.page_parts import ShownImage, viewer_script
from visql_lib.site.pages import Stat
from visql_lib.site.state import Store
from visql_lib.site.viewing import TILES, tiles_path
from visql_lib.steps.pyramid import TILE, Tiles, shown_range, stretch_facts

_SCRIPT = "visqlTiles"
_FINEST = 1e-6  # of the level: a stretch needs some width, also where all pixels are equal


class ImageTiles:
    """Cuts images into tiles, unless that was done.

    Parameters
    ----------
    store : Store
        The files of the site.
    results : Path
        Folder of all products.
    """

    def __init__(self, store: Store, results: Path) -> None:
        self._store, self._results = store, results

    def cut(self, group: str, name: str, path: str, stat: Stat) -> str:
        """Cut an image into tiles, unless that was done; return a digest of the image."""
        key = digest(stat._asdict())
        folder = self._store.out / tiles_path(group, name)

        def make() -> bytes:
            return viewer_script(_SCRIPT, tiles_of(self._results / path, folder)).encode()

        self._store.renew(f"{tiles_path(group, name)}/{TILES}", key, make)
        return key

    def drop(self, group: str, name: str) -> None:
        """Remove the tiles of an image that is gone."""
        tiles = tiles_path(group, name)
        if f"{tiles}/{TILES}" in self._store.pages:
            self._store.remove(f"{tiles}/{TILES}")
            shutil.rmtree(self._store.out / tiles, ignore_errors=True)

    def smallest(self, group: str, name: str) -> Path | None:
        """Return the tile that shows a whole image at its coarsest, None if there is none."""
        folder = self._store.out / tiles_path(group, name)
        if f"{tiles_path(group, name)}/{TILES}" not in self._store.pages:
            return None
        levels = sorted((int(p.name) for p in folder.iterdir() if p.name.isdigit()), reverse=True)
        return folder / str(levels[0]) / "0_0.jpg" if levels else None


class ImagePages:
    """Writes the pages of a group's images.

    Parameters
    ----------
    store : Store
        The files of the site.
    tiles : ImageTiles
        Cuts images.
    page : callable
        Renders a template: called with a path, the template and its content.
    common : str
        A digest of what all pages depend on.
    """

    def __init__(self, store: Store, tiles: ImageTiles, page: Callable[..., bytes], common: str) -> None:
        self._store, self._tiles, self._page, self._common = store, tiles, page, common

    def write(self, group: str, images: Sequence[ShownImage], stat: Callable[[str], Stat]) -> None:
        """Write pages and tiles of a group's images, and remove those of images that are gone."""
        for shown in images:
            key = self._tiles.cut(group, shown.name, shown.path, stat(shown.path))
            context: dict[str, Any] = {
                "group": group,
                "shown": shown,
                "tiles": f"{tiles_path(group, shown.name)}/{TILES}",
                "picture": str(Path(shown.path).with_suffix(".png")),
            }

            def make(path: str = shown.page(group), context: dict[str, Any] = context) -> bytes:
                return self._page(path, "image.html", **context)

            facts = (shown.title, shown.path, *(": ".join(fact) for fact in shown.facts))
            self._store.renew(shown.page(group), digest(key, self._common, *facts), make)
        self._clean(group, {shown.page(group) for shown in images})

    def _clean(self, group: str, pages: set[str]) -> None:
        for path in [p for p in self._store.pages if p.startswith(f"images/{group}/") and p not in pages]:
            self._store.remove(path)
            self._tiles.drop(group, path.rpartition("/")[2].removesuffix(".html"))


def tiles_of(path: Path, folder: Path) -> dict[str, Any]:
    """Cut a FITS image into tiles below `folder`, which is emptied; return their description for the viewer.

    It says ``failed`` and why, if the image cannot be read or has no pixel.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        image = read_image(path)
    except FrameError as error:
        return {"failed": str(error)}
    data = np.where(image.valid, image.data, np.nan)
    if data.ndim != 2 or not np.isfinite(data).any():
        return {"failed": f"{path.name} has no valid pixel, or is a cube"}
    sink, stretch = Tiles(folder), _stretch(data)
    height, width = data.shape
    binnings = cut_image(data, sink, TILE, stretch)
    grids = {b: (-(-width // (b * TILE)), -(-height // (b * TILE))) for b in binnings}
    return {
        "width": width,
        "height": height,
        "tile": TILE,
        "levels": [sink.level(b, *grids[b]) for b in binnings],
        "left": 0,
        "top": height,
        "unit": _unit(image),
        "stretch": stretch_facts(stretch),
        "shown": shown_range(stretch.zero, stretch.soft),
        "quadrants": [["", 0, 0, width, height, 0, 0]],
    }


def _stretch(data: NDArray) -> Stretch:
    """Choose a stretch whose finest levels are those of the noise, and that cuts nothing off."""
    zero, rms = level_and_rms(data)
    soft = max(rms, _FINEST * abs(zero), math.ulp(1.0))
    low, high = float(np.nanmin(data)), float(np.nanmax(data))
    return Stretch(zero, soft, min(low, zero - soft), max(high, zero + soft))


def _unit(image: Image) -> str:
    return str(image.header.get("BUNIT", "") or "ADU")
