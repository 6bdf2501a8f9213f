"""How `visql display` writes what it draws: pictures, pages and movies."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from visql_lib.cli.files import one_by_one
from visql_lib.errors import FrameError, RequestError, VisqlError
from visql_lib.images.names import ENDINGS, is_fits_name, output_paths, refuse_existing
from visql_lib.images.planes import Plane, PlaneReader, same_size
from visql_lib.pictures.brightness import Limits, limits_of
from visql_lib.pictures.display import Look, picture, rgb_picture
from visql_lib.pictures.save import save_pages, save_picture
from visql_lib.pictures.style import pixels_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

_MOVIES = (".gif", ".mp4")
_WHOLE = (".png", ".pdf", *_MOVIES)  # endings of an OUT that is one file
_OTHERS = (".jpg", ".jpeg", ".svg", ".eps", ".ps", ".tif", ".tiff", ".webp", ".webm", ".mov", ".avi", ".mkv")
_SAMPLE, _SEED = 100_000, 2  # pixels per file for the limits of a movie; the same each time

Ends = tuple[float, float]


@dataclass(frozen=True)
class Output:
    """Where pictures go, and how.

    Parameters
    ----------
    name : str
        A file, or a root without ending.
    fps : float
        Frames per second of a movie.
    rgb, overwrite : bool
    stages : mapping
        Stages with their versions, for records.
    """

    name: str
    fps: float
    rgb: bool
    overwrite: bool
    stages: Mapping[str, int]

    @property
    def ending(self) -> str:
        """What kind of file it is, "" for a root."""
        suffix = Path(self.name).suffix.lower()
        return suffix if suffix in _WHOLE else ""

    @property
    def path(self) -> Path:
        """The one file."""
        return Path(self.name)


def draw(files: Sequence[Path], reader: PlaneReader, how: Limits, look: Look, output: Output) -> None:
    """Draw some files and write what the output's name wants.

    Raises
    ------
    RequestError
        If the name does not fit what there is to draw, or it is there already.
    VisqlError
        If some file cannot be drawn; after all others were.
    """
    if is_fits_name(output.name) or output.path.suffix.lower() in _OTHERS:
        raise RequestError(f"{output.name}: give .png, .pdf, .gif or .mp4, or a root without ending")
    if output.rgb:
        _draw_rgb(files, reader, how, look, output)
    elif not output.ending:
        _draw_each(files, reader, how, look, output)
    elif output.ending == ".png":
        _draw_one(files, reader, how, look, output)
    else:
        _draw_all(files, reader, how, look, output)


def _figures(planes: Sequence[Plane], ends: Ends, look: Look) -> Iterator[Figure]:
    for plane in planes:
        yield picture(plane.values, ends, look, plane.title, plane.unit, plane.corner)


def _limits(planes: Sequence[Plane], how: Limits) -> Ends:
    """Choose one black and white for the planes of one file."""
    return limits_of(np.stack([plane.values for plane in planes]), how)


def _draw_one(files: Sequence[Path], reader: PlaneReader, how: Limits, look: Look, output: Output) -> None:
    planes = reader.planes(files[0]) if len(files) == 1 else []
    if len(planes) != 1:
        number = f"{len(planes)} planes" if planes else f"{len(files)} files"
        raise RequestError(
            f"{output.name}: one picture for {number}; give a root without .png, or a .pdf, .gif or .mp4"
        )
    refuse_existing([output.path], output.overwrite)
    (figure,) = _figures(planes, _limits(planes, how), look)
    save_picture(figure, output.path, None, output.stages)


def _draw_each(files: Sequence[Path], reader: PlaneReader, how: Limits, look: Look, output: Output) -> None:
    names = [_picture_name(path) for path in output_paths(output.name, files)]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise RequestError(f"{files[names.index(name)]} and {files[i]} would both become {name}")
    refuse_existing(names, output.overwrite)

    def work(item: tuple[Path, Path]) -> None:
        path, name = item
        planes = reader.planes(path)
        width = len(str(max(plane.number for plane in planes)))
        numbered = [
            name.with_name(f"{name.stem}_{plane.number:0{width}d}.png") if plane.number else name
            for plane in planes
        ]
        refuse_existing(numbered, output.overwrite)
        for figure, target in zip(_figures(planes, _limits(planes, how), look), numbered, strict=True):
            save_picture(figure, target, None, output.stages)

    items = ((str(path), (path, name)) for path, name in zip(files, names, strict=True))
    one_by_one("display", items, work, len(files))


def _picture_name(path: Path) -> Path:
    """Put .png in the place of the ending of a FITS file."""
    ending = max((e for e in ENDINGS if path.name.lower().endswith(e)), key=len, default="")
    return path.with_name(f"{path.name.removesuffix(path.name[len(path.name) - len(ending) :])}.png")


def _draw_rgb(files: Sequence[Path], reader: PlaneReader, how: Limits, look: Look, output: Output) -> None:
    if output.ending not in (".png", ".pdf"):
        raise RequestError(f"{output.name}: --rgb makes one picture; give a .png or .pdf")
    planes = [plane for path in files for plane in reader.planes(path)]
    if len(planes) != 3:
        raise RequestError(f"--rgb: {len(planes)} images or planes, not three: red, green, blue")
    refuse_existing([output.path], output.overwrite)
    titles = [plane.title for plane in planes]
    figure = rgb_picture(
        [plane.values for plane in planes],
        [limits_of(plane.values, how) for plane in planes],
        look,
        " + ".join(dict.fromkeys(title.partition("  plane ")[0] for title in titles)),
        [path.name for path in files] if len(files) == 3 else [f"plane {p.number}" for p in planes],
        planes[0].corner,
    )
    if output.ending == ".pdf":
        save_pages([figure], output.path, output.stages)
    else:
        save_picture(figure, output.path, None, output.stages)


@dataclass
class _Pages:
    """The figures of many files; one that fails is told, and left out."""

    files: Sequence[Path]
    reader: PlaneReader
    how: Limits
    look: Look
    failed: dict[Path, VisqlError] = field(default_factory=dict)

    def figures(self, ends: Ends | None = None, one_size: bool = False) -> Iterator[Figure]:
        """Draw them, each file between its own limits if none are given."""
        for _, planes in self._planes(one_size):
            yield from _figures(planes, ends or _limits(planes, self.how), self.look)

    def common_limits(self) -> Ends:
        """Choose one black and white for all files, from a sample of each."""
        if self.how.kind == "given":
            return limits_of(np.empty(0), self.how)
        samples = [_sample(plane.values, self.how) for _, planes in self._planes(True) for plane in planes]
        return limits_of(np.concatenate(samples) if samples else np.empty(0), self.how)

    def _planes(self, one_size: bool) -> Iterator[tuple[Path, list[Plane]]]:
        first: tuple[Path, tuple[int, ...]] | None = None
        for path in self.files:
            if path in self.failed:
                continue
            try:
                planes = self.reader.planes(path)
                if one_size:
                    first = first or (path, planes[0].values.shape)
                    same_size(planes, first[1], path, first[0])
            except VisqlError as error:
                self.failed[path] = error
                if len(self.files) > 1:
                    log.error("%s: %s", path, str(error).removeprefix(f"{path}: "))
                continue
            yield path, planes

    def finish(self) -> None:
        """Say how many failed, if any."""
        if len(self.files) == 1 and self.failed:
            raise next(iter(self.failed.values()))
        if self.failed:
            raise FrameError(f"{len(self.failed)} of {len(self.files)} failed")


def _sample(values: NDArray, how: Limits) -> NDArray:
    """Take some of the valid values, or the extreme ones if they are what counts."""
    good = values[np.isfinite(values)]
    if how.kind == "minmax" and good.size:
        return np.array([good.min(), good.max()])
    if good.size <= _SAMPLE:
        return good
    return good[np.random.default_rng(_SEED).integers(good.size, size=_SAMPLE)]


def _draw_all(files: Sequence[Path], reader: PlaneReader, how: Limits, look: Look, output: Output) -> None:
    refuse_existing([output.path], output.overwrite)
    pages = _Pages(files, reader, how, look)
    if output.ending == ".pdf":
        save_pages(pages.figures(), output.path, output.stages)
    else:
        frames = (pixels_of(figure) for figure in pages.figures(pages.common_limits(), one_size=True))
        if (first := next(frames, None)) is not None:
            _write_movie(chain([first], frames), (first.shape[1], first.shape[0]), output)
    pages.finish()


def _write_movie(frames: Iterator[NDArray[np.uint8]], size: tuple[int, int], output: Output) -> None:
    from visql_lib.movies.encode import encode_piece, write_movie
    from visql_lib.movies.gif import write_gif

    if output.ending == ".gif":
        write_gif(frames, output.fps, output.path, output.stages)
    else:
        write_movie([encode_piece(frames, size, output.fps)], output.fps, output.path, output.stages)
