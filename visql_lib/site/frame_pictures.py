"""What the site makes of the frames of a group: tiles of their images, and small pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from visql_lib.products.pages import pages_of
from visql_lib.products.registry import Registry
from visql_lib.site.images import ImageTiles
from visql_lib.site.pages import Folder, stat_of
from visql_lib.site.state import Store
from visql_lib.site.thumbs import small_jpegs


class FramePictures:
    """Makes the tiles and small pictures that are new or changed.

    Parameters
    ----------
    store : Store
        The files of the site.
    results : Path
        Folder of all products.
    registry : Registry
        That of the pipeline.
    tiles : ImageTiles
        Cuts images.
    """

    def __init__(self, store: Store, results: Path, registry: Registry, tiles: ImageTiles) -> None:
        self._store, self._results, self._tiles = store, results, tiles
        self._grouping, self._pages = registry.grouping, pages_of(registry)

    def cut(self, group: str, folders: Mapping[str, Folder]) -> None:
        """Cut the images that the viewer shows into tiles, and remove those of images that are gone."""
        for name, folder in folders.items():
            path = self._grouping.stem(self._results, group, name) + self._pages.frame_image
            stat = folder.files.get(Path(path).name)
            if stat is None:
                self._tiles.drop(group, name)
            else:
                self._tiles.cut(group, name, os.path.relpath(path, self._results), stat)

    def thumbs(self, group: str, folders: Mapping[str, Folder], width: int) -> set[str]:
        """Make small pictures, `width` px wide; return the exposures that have one."""
        sources: dict[Path, tuple[str, str]] = {}  # picture -> the small one, and its fingerprint
        for name, folder in folders.items():
            if (path := self._source(group, name, folder)) is not None:
                stat = folder.files.get(path.name) or stat_of(path)
                sources[path] = name, f"{stat.size}-{stat.mtime}-{width}"
        todo = [path for path, (name, key) in sources.items() if not self._stands(group, name, key)]
        have = {name for path, (name, _) in sources.items()} - {sources[path][0] for path in todo}
        self._store.built.unchanged += len(have)
        for path, content in small_jpegs(todo, width):
            if content is not None:
                name, key = sources[path]
                self._store.renew(_small(group, name), key, partial(bytes, content))
                have.add(name)
        return have

    def _source(self, group: str, name: str, folder: Folder) -> Path | None:
        """Return the picture of a frame: its own, else the coarsest tile."""
        path = Path(f"{self._grouping.stem(self._results, group, name)}{self._pages.frame_picture}")
        return path if path.name in folder.files else self._tiles.smallest(group, name)

    def _stands(self, group: str, name: str, key: str) -> bool:
        path = _small(group, name)
        return self._store.pages.get(path) == key and (self._store.out / path).is_file()


def _small(group: str, name: str) -> str:
    return f"thumbs/{group}/{name}.jpg"
