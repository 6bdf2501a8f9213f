"""All tables VISQL writes, for the documentation."""

from __future__ import annotations

from collections.abc import Container

from visql_lib.pipelines.vis.schemas.archive_names import ARCHIVE_NAMES
from visql_lib.pipelines.vis.schemas.detector import DETECTOR_TABLES
from visql_lib.pipelines.vis.schemas.gaia import GAIA_TABLES
from visql_lib.pipelines.vis.schemas.leak import LEAK
from visql_lib.pipelines.vis.schemas.performance import PERFORMANCE
from visql_lib.pipelines.vis.schemas.radiation import RADIATION_TABLES
from visql_lib.tables.metadata import FrameMetadata, Metadata, described
from visql_lib.tables.products import CATALOGUE, MOMENTS, PSFMOMENTS, QUADRANTS, SKY_CATALOGUE, STAMPS, STARS
from visql_lib.tables.qc import QC
from visql_lib.tables.schema import TableSchema

ALL: tuple[TableSchema, ...] = (
    CATALOGUE,
    SKY_CATALOGUE,
    QUADRANTS,
    STARS,
    MOMENTS,
    STAMPS,
    *GAIA_TABLES,
    PSFMOMENTS,
    *RADIATION_TABLES,
    *DETECTOR_TABLES,
    ARCHIVE_NAMES,
    LEAK,
    PERFORMANCE,
    QC,
)


def markdown() -> str:
    """Write the documentation page of all tables."""
    lines = ["# Tables", "", "<!-- made by `visql schema`; do not edit -->", ""]
    lines += ["Tables hold more in their metadata (`Table.read(...).meta`), `null` where it is not known."]
    lines += ["All tables of one frame hold:", "", *_values(FrameMetadata, ()), ""]
    shown: dict[type[Metadata], str] = {FrameMetadata: ""}
    for schema in ALL:
        lines += [f"## {schema.product}", "", schema.doc, "", "| column | type | unit | meaning |"]
        lines.append("|---|---|---|---|")
        lines += [f"| {c.name} | {c.dtype} | {c.unit or '–'} | {c.doc} |" for c in schema.columns]
        lines.append("")
        if schema.metadata is None:
            continue
        if schema.metadata not in shown:
            lines += [*_values(schema.metadata, FrameMetadata.model_fields), ""]
            shown[schema.metadata] = schema.product
        elif first := shown[schema.metadata]:
            lines += [f"Metadata as of {first}.", ""]
    return "\n".join(lines)


def _values(model: type[Metadata], known: Container[str]) -> list[str]:
    rows = [(name, unit, doc) for name, unit, doc in described(model) if name not in known]
    lines = [f"| `{name}` | {unit or '–'} | {doc} |" for name, unit, doc in rows]
    return ["| metadata | unit | meaning |", "|---|---|---|", *lines]
