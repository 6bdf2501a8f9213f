"""``visql pictures``: the pictures of one exposure, from its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.common import INPUT, PREFIX, output_option, settings_of, step

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from visql_lib.config import Settings
    from visql_lib.instruments.model import Instrument
    from visql_lib.tables.store import Table

# Picture -> tables it is made from.
NEEDS: dict[str, tuple[str, ...]] = {
    "chimney": ("catalogue",),
    "chimney2": ("catalogue", "stars"),
    "chimney4": ("catalogue",),
    "stars2": ("stamps",),
    "stars2_mom": ("moments",),
    "stars2_mom_map3": ("moments",),
    "iq": ("catalogue", "stars", "moments"),
    "stars2_gaia": ("gaia_stars",),
    "stars2_x_gaia_dxdy": ("frat", "solution"),
    "stars2_fluxrat_bprp": ("frat", "moments_colours"),
}
_OF_GAIA = ("stars2_gaia", "stars2_x_gaia_dxdy", "stars2_fluxrat_bprp")
_MOMENT_COLUMNS = ("XWORLD", "YWORLD", "R2", "e1", "e2", "tr1", "tr2", "com1", "com2")
_COLUMNS: dict[tuple[str, str], tuple[str, ...]] = {
    ("chimney", "catalogue"): ("FLUX_AUTO", "FLUX_RADIUS"),
    ("chimney2", "catalogue"): ("FLUX_AUTO", "FLUX_RADIUS", "B_IMAGE"),
    ("chimney4", "catalogue"): ("FLUX_AUTO", "FLUX_RADIUS", "A_IMAGE", "B_IMAGE", "FIELDRAD"),
    ("iq", "catalogue"): ("FLUX_AUTO", "FLUX_RADIUS", "B_IMAGE"),
    ("stars2", "stamps"): ("XWORLD", "YWORLD", "STAMP"),
    ("stars2_mom", "moments"): _MOMENT_COLUMNS,
    ("stars2_mom_map3", "moments"): ("EXT", *_MOMENT_COLUMNS),
    ("iq", "moments"): ("EXT", *_MOMENT_COLUMNS),
    ("stars2_gaia", "gaia_stars"): ("RAV", "DECV", "G"),
    ("stars2_x_gaia_dxdy", "frat"): ("EXT", "XWORLD", "YWORLD", "DX", "DY", "VFLUX", "GFLUX", "BpRp"),
    ("stars2_x_gaia_dxdy", "solution"): ("CCD", "N", "N_OUTLIERS", "SCATTER"),
    ("stars2_fluxrat_bprp", "frat"): ("BpRp", "G", "VFLUX", "GFLUX", "FLAGS"),
    ("stars2_fluxrat_bprp", "moments_colours"): ("XWORLD", "YWORLD", "R2", "BpRp", "G"),
}


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
    type=click.Choice(list(NEEDS)),
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
    tables: Sequence[Path], only: Sequence[str], settings: Settings, prefix: Path, cutout: Path | None = None
) -> None:
    """Draw what some tables allow, or only some pictures."""
    paths = _by_product(tables)
    wanted = _wanted(only, paths)
    sources = _Sources(paths, wanted, settings, cutout, prefix.name)
    given = [*paths.values(), *([cutout] if cutout else [])]
    for name in wanted:
        stage = "gaia_pictures" if name in _OF_GAIA else "pictures"
        path = prefix.with_name(f"{prefix.name}_{name}.png")
        save(_DRAW[name](sources), path, settings.pictures.dpi, stage, inputs=given)


def save(figure: Figure, path: Path, dpi: float | None, *stages: str, inputs: Sequence[Path] = ()) -> None:
    """Write a figure as PNG, made by some stages; `dpi` None keeps its own resolution, as for zooms."""
    from visql_lib import __version__, ledger
    from visql_lib.atomic import atomic_path
    from visql_lib.config import STAGES
    from visql_lib.pictures.style import render_png
    from visql_lib.tables.provenance import signed_png

    content = render_png(figure, dpi, software=f"VISQL {__version__}", made=ledger.now())
    signed = signed_png(path, content, {stage: STAGES[stage] for stage in stages}, inputs)
    with atomic_path(path) as temporary:
        temporary.write_bytes(signed)


def _by_product(files: Sequence[Path]) -> dict[str, Path]:
    """Find out which table each file is."""
    from visql_lib.tables.store import read_meta

    known = sorted({product for needed in NEEDS.values() for product in needed})
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
    wanted = [name for name, needed in NEEDS.items() if set(needed) <= set(paths) and name in (only or NEEDS)]
    for name in only:
        missing = [product for product in NEEDS[name] if product not in paths]
        if missing:
            raise click.UsageError(f"{name} needs the table of {' and of '.join(missing)} as well")
    if not wanted:
        raise click.UsageError(f"no picture can be drawn from the table of {', '.join(paths)} alone")
    return wanted


class _Sources:
    """What pictures are made from; every table is read once, and only the columns needed."""

    def __init__(
        self, paths: Mapping[str, Path], wanted: list[str], settings: Settings, cutout: Path | None, stem: str
    ) -> None:
        self.paths, self.wanted, self.settings = paths, wanted, settings
        self._cutout, self._stem = cutout, stem
        self._tables: dict[str, Table] = {}

    def table(self, product: str) -> Table:
        """Return a table with the columns the wanted pictures need."""
        from visql_lib.tables.store import read_table

        if product not in self._tables:
            columns = [c for name in self.wanted for c in _COLUMNS.get((name, product), ())]
            self._tables[product] = read_table(self.paths[product], list(dict.fromkeys(columns)))
        return self._tables[product]

    @cached_property
    def selection(self) -> Mapping[str, Any]:
        """What the star selection found; empty if the table does not say."""
        from visql_lib.tables.store import read_meta

        return read_meta(self.paths["stars"]).get("selection") or {}

    @cached_property
    def instrument(self) -> Instrument:
        """The instrument of the settings."""
        from visql_lib.instruments.model import load_instrument

        return load_instrument(self.settings.instrument)

    @cached_property
    def title(self) -> str:
        """Exposure and frame type, as a table tells them; else the name of the pictures."""
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


def _chimney(sources: _Sources) -> Figure:
    from visql_lib.pictures.chimney import chimney

    return chimney(sources.table("catalogue"), title=sources.title)


def _chimney2(sources: _Sources) -> Figure:
    from visql_lib.pictures.chimney import chimney2

    catalogue, settings = sources.table("catalogue"), sources.settings.stars
    return chimney2(catalogue, sources.selection, settings, title=sources.title)


def _chimney4(sources: _Sources) -> Figure:
    from visql_lib.pictures.chimney import chimney4

    catalogue = sources.table("catalogue")
    exptime, facts = catalogue.meta.get("exptime"), sources.instrument.photometry
    return chimney4(catalogue, exptime, facts, title=sources.title)


def _stars2(sources: _Sources) -> Figure:
    from visql_lib.pictures.cutouts import star_cutouts

    cell = sources.settings.moments.layout_cell
    return star_cutouts(sources.table("stamps"), sources.instrument, cell=cell, title=sources.title)


def _stars2_mom(sources: _Sources) -> Figure:
    from visql_lib.pictures.moments import moments_against_position

    return moments_against_position(sources.table("moments"), title=sources.title)


def _stars2_mom_map3(sources: _Sources) -> Figure:
    from visql_lib.pictures.maps import moment_maps

    space = sources.settings.pictures.map_space
    return moment_maps(sources.table("moments"), sources.instrument, space, title=sources.title)


def _iq(sources: _Sources) -> Figure:
    from visql_lib.pictures.iq import image_quality

    return image_quality(
        sources.table("moments"),
        sources.table("catalogue"),
        sources.selection,
        sources.settings.stars,
        sources.cutout,
        instrument=sources.instrument,
        space=sources.settings.pictures.map_space,
        title=sources.title,
    )


def _gaia_field(sources: _Sources) -> Figure:
    from visql_lib.pictures.gaia import gaia_field
    from visql_lib.sky.projection import Boresight

    stars = sources.table("gaia_stars")
    known = {name: float(stars.meta[name]) for name in ("ra", "dec", "pa") if name in stars.meta}
    boresight = Boresight(**known) if len(known) == 3 else None
    return gaia_field(stars, sources.instrument, boresight, title=sources.title)


def _residuals(sources: _Sources) -> Figure:
    from visql_lib.pictures.residuals import astrometric_residuals

    frat, solution = sources.table("frat"), sources.table("solution")
    facts = {"flags": frat.meta.get("flags", 0)} | dict(frat.meta.get("solution") or {})
    return astrometric_residuals(frat, solution, sources.instrument, facts, title=sources.title)


def _flux_ratios(sources: _Sources) -> Figure:
    from visql_lib.pictures.gaia import flux_ratio_colour

    frat, colours = sources.table("frat"), sources.table("moments_colours")
    return flux_ratio_colour(
        frat,
        frat.meta.get("relation"),
        colours,
        frat.meta.get("sizes"),
        gain=sources.settings.ratios.gain,
        title=sources.title,
    )


_DRAW: dict[str, Callable[[_Sources], Figure]] = {
    "chimney": _chimney,
    "chimney2": _chimney2,
    "chimney4": _chimney4,
    "stars2": _stars2,
    "stars2_mom": _stars2_mom,
    "stars2_mom_map3": _stars2_mom_map3,
    "iq": _iq,
    "stars2_gaia": _gaia_field,
    "stars2_x_gaia_dxdy": _residuals,
    "stars2_fluxrat_bprp": _flux_ratios,
}
