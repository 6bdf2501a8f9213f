"""``visql pictures``: the pictures of one exposure, from its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.common import INPUT, PREFIX, output_option, settings_of, step
from visql_lib.pipelines.vis.registry import REGISTRY

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from visql_lib.instruments.model import Instrument
    from visql_lib.pipelines.vis.settings import VisSettings
    from visql_lib.tables.store import Table

DRAWINGS = REGISTRY.drawings


@step(
    "pictures",
    "Draw the pictures of one exposure from its TABLES, in any order: catalogue, stars, moments, stamps,"
    " reference stars, flux ratios, solution, colours."
    " Each table says itself what it is. Drawn is what the given tables allow, or what --only asks for:"
    " radius-flux diagrams [px, ADU], star cut-outs, moments and their maps over the focal plane [deg],"
    " reference stars [deg], astrometric residuals [px], VIS/Gaia flux ratios against BP-RP [mag].",
    "visql pictures E.cat.parquet E_stars2.parquet E_stars2_mom.parquet -o E\n"
    "  visql pictures E_stars2_mom.parquet -o E\n"
    "  visql pictures FLAT.cat.parquet FLAT_stars2.parquet --only chimney2 -o FLAT",
)
@click.argument("tables", type=INPUT, nargs=-1, required=True)
@click.option("--stamps", type=INPUT, metavar="TABLE", help="Cut-outs of stars; may also be one of TABLES.")
@click.option("--cutout", type=INPUT, metavar="PNG", help="A zoom of this exposure, shown in the iq picture.")
@click.option(
    "--only",
    type=click.Choice(list(DRAWINGS)),
    multiple=True,
    help="Draw this picture; may be given several times. Default: all the tables allow.",
)
@output_option("Beginning of the pictures' names: PREFIX_chimney.png and so on.", PREFIX, "PREFIX")
def command(
    tables: tuple[Path, ...],
    stamps: Path | None,
    cutout: Path | None,
    only: tuple[str, ...],
    output: Path,
    config: Path | None,
) -> None:
    """Draw the pictures of one exposure."""
    draw([*tables, *([stamps] if stamps else [])], only, settings_of(config), output, cutout)


def draw(
    tables: Sequence[Path],
    only: Sequence[str],
    settings: VisSettings,
    prefix: Path,
    cutout: Path | None = None,
) -> None:
    """Draw what some tables allow, or only some pictures."""
    from visql_lib.cli.outputs import save_picture

    paths = _by_product(tables)
    wanted = _wanted(only, paths)
    sources = PictureInputs(paths, wanted, settings, cutout, prefix.name)
    given = [*paths.values(), *([cutout] if cutout else [])]
    for name in wanted:
        stage = DRAWINGS[name].stage or "pictures"
        path = prefix.with_name(f"{prefix.name}_{name}.png")
        save_picture(sources.draw(name), path, settings.pictures.dpi, stage, inputs=given)


def _by_product(files: Sequence[Path]) -> dict[str, Path]:
    """Find out which table each file is."""
    from visql_lib.tables.store import read_meta

    known = sorted({table for drawing in DRAWINGS.values() for table in drawing.tables})
    paths: dict[str, Path] = {}
    for path in files:
        product = str(read_meta(path).get("product", ""))
        if product not in known:
            raise click.UsageError(f"{path}: is no table of {', '.join(known)}")
        if paths.get(product, path) != path:
            raise click.UsageError(f"{path} and {paths[product]} are both tables of {product}: give one")
        paths[product] = path
    return paths


def _wanted(only: Sequence[str], paths: Mapping[str, Path]) -> list[str]:
    """Return the pictures to draw, in a fixed order."""
    asked = [name for name in DRAWINGS if not only or name in only]
    wanted = [name for name in asked if set(DRAWINGS[name].tables) <= set(paths)]
    for name in only:
        missing = [table for table in DRAWINGS[name].tables if table not in paths]
        if missing:
            raise click.UsageError(f"{name} needs the table of {' and of '.join(missing)} as well")
    if not wanted:
        raise click.UsageError(f"no picture can be drawn from the table of {', '.join(paths)} alone")
    return wanted


class PictureInputs:
    """Inputs of the pictures; every table is read once, and only the columns needed."""

    def __init__(
        self,
        paths: Mapping[str, Path],
        wanted: list[str],
        settings: VisSettings,
        cutout: Path | None,
        stem: str,
    ) -> None:
        self.paths, self.wanted, self.settings = paths, wanted, settings
        self._cutout, self._stem = cutout, stem
        self._tables: dict[str, Table] = {}

    def draw(self, name: str) -> Figure:
        """Draw a picture by its function in the registry, from tables and attributes of these inputs."""
        drawing = DRAWINGS[name]
        module, _, function = drawing.function.partition(":")
        given = [self._value(word) for word in drawing.arguments]
        named = {key: self._value(word) for key, word in drawing.keywords.items()}
        figure: Figure = getattr(import_module(module), function)(*given, **named)
        return figure

    def _value(self, word: str) -> Any:
        return self.table(word) if word in self.paths else attrgetter(word)(self)

    def table(self, product: str) -> Table:
        """Return a table with the columns the wanted pictures need."""
        from visql_lib.tables.store import read_table

        if product not in self._tables:
            columns = [c for name in self.wanted for c in DRAWINGS[name].columns.get(product, ())]
            self._tables[product] = read_table(self.paths[product], list(dict.fromkeys(columns)))
        return self._tables[product]

    @cached_property
    def exptime(self) -> Any:
        """Exposure time [s] from the catalogue's metadata, None if it has none."""
        return self.table("catalogue").meta.get("exptime")

    @cached_property
    def selection(self) -> Mapping[str, Any]:
        """The result of the star selection; empty if the table has none."""
        from visql_lib.tables.store import read_meta

        return read_meta(self.paths["stars"]).get("selection") or {}

    @cached_property
    def instrument(self) -> Instrument:
        """The instrument of the settings."""
        from visql_lib.instruments.model import load_instrument

        return load_instrument(self.settings.instrument)

    @cached_property
    def title(self) -> str:
        """Exposure and frame type, from a table's metadata; else the name of the pictures."""
        from visql_lib.tables.store import read_meta

        metas = [read_meta(path) for path in self.paths.values()]
        exposure = next((m["exposure"] for m in metas if m.get("exposure")), self._stem)
        kind = next((m["frame_type"] for m in metas if m.get("frame_type")), "SCIENCE")
        return str(exposure) if kind == "SCIENCE" else f"{exposure} ({kind})"

    @cached_property
    def cutout(self) -> NDArray | None:
        """The picture shown in a corner, shape (ny, nx, 3), rows downwards."""
        if self._cutout is None:
            return None
        import numpy as np
        from PIL import Image, UnidentifiedImageError

        from visql_lib.errors import TableError

        try:
            with Image.open(self._cutout) as picture:
                return np.asarray(picture.convert("RGB"))
        except (UnidentifiedImageError, SyntaxError) as error:  # Pillow's word for a broken PNG
            raise TableError(f"{self._cutout}: not a picture; make it again") from error
