"""Pictures of one frame from its tables, as the registry of a pipeline declares them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visql_lib.config import Settings
from visql_lib.errors import RequestError, TableError
from visql_lib.instruments.model import Instrument
from visql_lib.products.context import Context, note_used
from visql_lib.products.registry import Drawing
from visql_lib.tables.store import Table, read_meta, read_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


@dataclass(frozen=True)
class PictureInputs:
    """What pictures are drawn from.

    Parameters
    ----------
    tables : tuple of Path
        Of one frame, in any order: each says itself what it is.
    name : str
        Of the frame, shown where no table tells it.
    only : tuple of str
        Pictures to draw; none: all that the tables allow.
    cutout : Path or None
        A picture of the frame to show in a corner.
    """

    tables: tuple[Path, ...]
    name: str
    only: tuple[str, ...] = ()
    cutout: Path | None = None


@dataclass(frozen=True)
class Picture:
    """A drawn picture: its name, the stage whose version counts, and the figure."""

    name: str
    stage: str
    figure: Figure


@dataclass(frozen=True)
class PictureOutputs:
    """The files that pictures are made from, and the pictures, each drawn when it is asked for."""

    sources: tuple[Path, ...]
    pictures: Iterator[Picture]


class PictureSources:
    """What the functions that draw may ask for; every table is read once, and only the columns needed.

    A pipeline adds attributes of its own, which its drawings name.
    """

    def __init__(
        self, drawings: Mapping[str, Drawing], context: Context[Settings], inputs: PictureInputs
    ) -> None:
        self._drawings, self._context, self._inputs = drawings, context, inputs
        self.paths = _by_product(inputs.tables, drawings)
        self.wanted = _wanted(inputs.only, self.paths, drawings)
        self._tables: dict[str, Table] = {}

    def outputs(self) -> PictureOutputs:
        """Draw what is wanted, one picture after the other; their settings are noted."""
        note_used(self.settings, self.instrument, sections_of(self._drawings[name] for name in self.wanted))
        cutout = self._inputs.cutout
        given = (*self.paths.values(), *([cutout] if cutout else []))
        return PictureOutputs(given, map(self._picture, self.wanted))

    def _picture(self, name: str) -> Picture:
        drawing = self._drawings[name]
        module, _, function = drawing.function.partition(":")
        given = [self._value(word) for word in drawing.arguments]
        named = {key: self._value(word) for key, word in drawing.keywords.items()}
        figure: Figure = getattr(import_module(module), function)(*given, **named)
        return Picture(name, drawing.stage or "pictures", figure)

    def _value(self, word: str) -> Any:
        return self.table(word) if word in self.paths else attrgetter(word)(self)

    def table(self, product: str) -> Table:
        """Read a table with the columns that the wanted pictures need."""
        if product not in self._tables:
            columns = [c for name in self.wanted for c in self._drawings[name].columns.get(product, ())]
            self._tables[product] = read_table(self.paths[product], list(dict.fromkeys(columns)))
        return self._tables[product]

    @property
    def settings(self) -> Settings:
        """The settings of the run."""
        return self._context.settings

    @property
    def instrument(self) -> Instrument:
        """The instrument of the settings."""
        return self._context.instrument

    @cached_property
    def title(self) -> str:
        """Exposure and frame type, from a table's metadata; else the name of the frame."""
        metas = [read_meta(path) for path in self.paths.values()]
        exposure = next((m["exposure"] for m in metas if m.get("exposure")), self._inputs.name)
        kind = next((m["frame_type"] for m in metas if m.get("frame_type")), "SCIENCE")
        return str(exposure) if kind == "SCIENCE" else f"{exposure} ({kind})"

    @cached_property
    def cutout(self) -> NDArray | None:
        """The picture shown in a corner, shape (ny, nx, 3), rows downwards."""
        path = self._inputs.cutout
        if path is None:
            return None
        import numpy as np
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(path) as picture:
                return np.asarray(picture.convert("RGB"))
        except (UnidentifiedImageError, SyntaxError) as error:  # Pillow's word for a broken PNG
            raise TableError(f"{path}: not a picture; make it again") from error


def sections_of(drawings: Iterable[Drawing]) -> list[str]:
    """Find the sections of the settings that pictures depend on, beside that of all pictures."""
    words = [word for d in drawings for word in (*d.arguments, *d.keywords.values())]
    return sorted({word.split(".")[1] for word in words if word.startswith("settings.")})


def _by_product(files: Sequence[Path], drawings: Mapping[str, Drawing]) -> dict[str, Path]:
    """Find out which table each file is."""
    known = sorted({table for drawing in drawings.values() for table in drawing.tables})
    paths: dict[str, Path] = {}
    for path in files:
        product = str(read_meta(path).get("product", ""))
        if product not in known:
            raise RequestError(f"{path}: is no table of {', '.join(known)}")
        if paths.get(product, path) != path:
            raise RequestError(f"{path} and {paths[product]} are both tables of {product}: give one")
        paths[product] = path
    return paths


def _wanted(only: Sequence[str], paths: Mapping[str, Path], drawings: Mapping[str, Drawing]) -> list[str]:
    """Choose the pictures to draw, in a fixed order."""
    asked = [name for name in drawings if not only or name in only]
    wanted = [name for name in asked if set(drawings[name].tables) <= set(paths)]
    for name in only:
        missing = [table for table in drawings[name].tables if table not in paths]
        if missing:
            raise RequestError(f"{name} needs the table of {' and of '.join(missing)} as well")
    if not wanted:
        raise RequestError(f"no picture can be drawn from the table of {', '.join(paths)} alone")
    return wanted
