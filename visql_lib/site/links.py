"""Links from pages to products: in place, or to copies in a bundle."""

from __future__ import annotations

import os
from pathlib import Path

from visql_lib.site.render import url


class Links:
    """Links of the site: products are linked in place.

    ``out`` is the folder of the site; everything is relative, so that results
    may be moved with their site. ``frame`` is the path of a frame's products, with fields.
    """

    kind = "site"

    def __init__(self, results: Path, out: Path, frame: str) -> None:
        self.results, self.out = results, out
        self._frame = frame
        self._root = os.path.relpath(results, out).replace(os.sep, "/")

    def href(self, product: str, depth: int) -> str:
        """Compose the link to a product (a path relative to the results) from a page `depth` folders down.

        "" where it cannot be reached from there.
        """
        return url(f"{'../' * depth}{self._root}/{product}")

    def pattern(self, depth: int) -> str:
        """Compose the address of any exposure's pictures, with the fields of paths and {ending}."""
        return f"{url('../' * depth + self._root)}/{self._frame}{{ending}}.png"


class BundleLinks(Links):
    """Links of a bundle: pictures become WebP, movies and texts are copied, tables are only named."""

    kind = "bundle"
    _COPIED = (".mp4", ".txt", ".csv", ".tsv", ".wcs", ".jpg")

    def __init__(self, results: Path, out: Path, frame: str) -> None:
        super().__init__(results, out, frame)
        self.wanted: dict[str, str] = {}  # product -> its path in the bundle

    def href(self, product: str, depth: int) -> str:
        """Compose the link to the copy of a product, and remember to copy it."""
        if product.endswith(".png"):
            path = f"pictures/{product.removesuffix('.png')}.webp"
        elif product.endswith(self._COPIED):
            path = f"files/{product}"
        else:
            return ""
        if not (self.results / product).is_file():
            return ""
        self.wanted[product] = path
        return url(f"{'../' * depth}{path}")

    def pattern(self, depth: int) -> str:
        """Compose the address of any exposure's pictures in the bundle."""
        return f"{'../' * depth}pictures/{self._frame}{{ending}}.webp"
