"""Tables as documentation."""

from __future__ import annotations

from collections.abc import Container, Sequence

from visql_lib.tables.metadata import FrameMetadata, Metadata, described
from visql_lib.tables.schema import TableSchema


def markdown(schemas: Sequence[TableSchema], title: str = "Tables") -> str:
    """Write the documentation page of the tables of a pipeline."""
    lines = [f"# {title}", "", "<!-- made by `visql schema`; do not edit -->", ""]
    if any(schema.metadata for schema in schemas):
        lines += [
            "Tables hold more in their metadata (`Table.read(...).meta`), `null` where it is not known."
        ]
        lines += ["All tables of one frame hold:", "", *_values(FrameMetadata, ()), ""]
    shown: dict[type[Metadata], str] = {FrameMetadata: ""}
    for schema in schemas:
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
