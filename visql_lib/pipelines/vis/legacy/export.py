"""Export of our tables as text tables of the original scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from visql_lib.errors import TableError
from visql_lib.flags import ExposureFlag
from visql_lib.pipelines.vis.legacy import gaia as legacy_gaia
from visql_lib.pipelines.vis.legacy import write as legacy_write
from visql_lib.pipelines.vis.legacy.fits_list import write_fits_list
from visql_lib.pipelines.vis.legacy.read import MEDIANS
from visql_lib.pipelines.vis.legacy.write import write_month
from visql_lib.pipelines.vis.schemas.gaia import RATIOS
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.context import Context, note_used
from visql_lib.sheets.sheet import read_sheet
from visql_lib.tables import read_meta, read_table

_EXPOSURES = ("stars", "moments", "catalogue", "gaia_stars", "moments_colours", "frat")


@dataclass(frozen=True)
class ExportInputs:
    """A table or an exposure sheet (.tsv), and the folder of its text tables."""

    table: Path
    folder: Path


@dataclass(frozen=True)
class Export:
    """The text tables that were written, and the number of exposures they omit."""

    texts: tuple[Path, ...]
    omitted: int = 0


def run(context: Context[VisSettings], inputs: ExportInputs) -> Export:
    """Write the text tables of a table.

    Raises
    ------
    TableError
        If the table cannot be read, or the original has no text table of its kind.
    """
    if inputs.table.suffix == ".tsv":
        text = inputs.folder / f"fitslist{inputs.table.stem}.txt"
        write_fits_list(text, read_sheet(inputs.table))
        return Export((text,))
    meta = read_meta(inputs.table)
    writers = {"psfmoments": _write_month, "ratios": _write_ratios} | dict.fromkeys(
        _EXPOSURES, _write_exposure
    )
    product = meta.get("product")
    if product not in writers:
        raise TableError(
            f"{inputs.table}: the original has no text table of product {product!r}; "
            f"expected one of {', '.join(writers)}"
        )
    return writers[product](context, inputs, meta)


def _write_month(context: Context[VisSettings], inputs: ExportInputs, meta: Mapping[str, Any]) -> Export:
    month = _wanted(inputs.table, meta, "month")
    quality = read_table(inputs.table, ["EXPOSURE", "ARCHIVE_NAME", "FLAGS", *MEDIANS])
    unknown = np.isnan([quality[name] for name in MEDIANS])
    # Without stars the original prints fixed numbers; it has no way to mark medians that are partly unknown.
    half = unknown.any(axis=0) & ~unknown.all(axis=0)
    known = ((quality["FLAGS"] & ExposureFlag.FAILED) == 0) & ~half
    note_used(context.settings, context.instrument, (), ("score",))
    columns = {name: column[known] for name, column in quality.items()}
    texts = write_month(inputs.folder, month, columns, context.instrument.score)
    return Export(tuple(texts), int((~known).sum()))


def _write_ratios(context: Context[VisSettings], inputs: ExportInputs, meta: Mapping[str, Any]) -> Export:
    month = _wanted(inputs.table, meta, "month")
    write = (
        legacy_gaia.write_colour_fits if meta.get("rule") == "sheet" else legacy_gaia.write_month_of_ratios
    )
    inputs.folder.mkdir(parents=True, exist_ok=True)
    note_used(context.settings, context.instrument, (), ("exposure_classes",))
    table = read_table(inputs.table, RATIOS.names)
    return Export(tuple(write(inputs.folder, month, table, context.instrument.exposure_classes)))


def _write_exposure(context: Context[VisSettings], inputs: ExportInputs, meta: Mapping[str, Any]) -> Export:
    exposure = _wanted(inputs.table, meta, "exposure")
    table = read_table(inputs.table)
    small = {
        "stars": ("_stars2.cat", legacy_write.write_stars2),
        "moments": ("_stars2_mom.cat", legacy_write.write_moments),
        "gaia_stars": ("_stars2_gaia.cat", legacy_gaia.write_gaia_stars),
        "moments_colours": ("_stars2_mom_col.cat", legacy_gaia.write_moments_with_colours),
        "frat": ("_frat.txt", legacy_gaia.write_frat),
    }
    ending, write = small.get(meta["product"], (".cat.gz", None))
    text = inputs.folder / f"{exposure}{ending}"
    if write is not None:
        write(text, table)
    else:
        with context.progress(exposure, legacy_write.chunks(table.n_rows)) as advance:
            legacy_write.write_catalogue(text, table, advance)
    return Export((text,))


def _wanted(path: Path, meta: Mapping[str, Any], key: str) -> str:
    if not meta.get(key):
        raise TableError(f"{path}: its metadata has no {key}; remake the table")
    return str(meta[key])
