"""The registry of a pipeline as documentation, and as the groups of cluster profiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from visql_lib.products.registry import LOCAL, Per, Product, Registry, Stage, Words, every_one

_HEADINGS = {
    Per.FRAME: "Per exposure: `{where}`",
    Per.GROUP: "Per {group}: `{where}`",
    Per.ALL: "Of all {group}s: `{where}`",
}


def markdown(registry: Registry, words: Words) -> str:
    """Return the page of a pipeline's products.

    Parameters
    ----------
    registry : Registry
        All stages and products.
    words : mapping
        The words of the fields of paths, of the usual instrument.
    """
    page = _Page(registry, words)
    lines = [
        f"# Products of `{registry.pipeline}`",
        "",
        "Written by `visql schema` from the registry of stages. `E` is an exposure's name: the raw file's",
        "without `.fits`. Tables are Parquet with units, descriptions and provenance: columns in",
        "[tables.md](tables.md), bits in [flags.md](flags.md), definitions in",
        "[measurements.md](measurements.md).",
    ]
    for per, heading in _HEADINGS.items():
        stages = [stage for stage in registry.of(per) if stage.outputs]
        where = page.shown(str(PurePosixPath(stages[0].outputs[0].path).parent))
        title = heading.format(group=registry.group, where=f"results/{where}/")
        lines += ["", f"## {title}", "", *page.table(stages, with_types=per == Per.FRAME)]
    lines += ["", "## Beside them", "", "| file | content |", "|---|---|"]
    stores = [product for stage in registry.of(Per.STORE) for product in stage.outputs]
    lines += [f"| `results/{page.shown(p.path)}` | {p.doc} |" for p in (*stores, *registry.beside)]
    return "\n".join(lines) + "\n"


class _Page:
    """Tables of products; what several stages make stands once, what one stage makes alike in one row."""

    def __init__(self, registry: Registry, words: Words) -> None:
        self.registry, self.words = registry, words

    def table(self, stages: Sequence[Stage], with_types: bool) -> Iterator[str]:
        columns = ["file", "content", *(["frames"] if with_types else []), "rule, command"]
        yield f"| {' | '.join(columns)} |"
        yield "|" + "---|" * len(columns)
        rows: dict[tuple[str, tuple[Stage, ...]], list[Product]] = {}
        for product in {p.path: p for stage in stages for p in stage.outputs}.values():
            makers = tuple(stage for stage in stages if product.path in stage.writes)
            rows.setdefault((product.doc, makers), []).append(product)
        for (doc, makers), products in rows.items():
            names = ", ".join(f"`{self.name(product)}`" for product in products)
            types = ["; ".join(dict.fromkeys(map(_types, makers)))] if with_types else []
            rules = ", ".join(f"`{stage.name}`" for stage in makers)
            yield f"| {' | '.join([names, doc, *types, f'{rules}, `{_command(makers, products)}`'])} |"

    def name(self, product: Product) -> str:
        outside = "{exposure}" in product.path and not product.ending
        name = self.shown(f"results/{product.path}" if outside else PurePosixPath(product.path).name)
        return name + "/" if product.folder else name

    def shown(self, path: str) -> str:
        """Return a path with the fields as users know them."""
        group = "YYYYMM" if self.registry.group == "month" else self.registry.group.upper()
        path = path.replace("{" + self.registry.group + "}", group).replace("{exposure}", "E")
        for field, words in self.words.items():
            path = path.replace("{" + field + "}", "{" + ",".join(words) + "}")
        return path


def _types(stage: Stage) -> str:
    if not stage.needs_raw:
        return "tables without raw frame"
    return ", ".join(stage.types) or ("all" if stage.applies is every_one else "others")


def _command(makers: Sequence[Stage], products: Sequence[Product]) -> str:
    return products[0].command or makers[0].step


def profile_groups(registry: Registry) -> str:
    """Return the groups of a cluster profile: which stages' jobs travel together."""
    stages = [stage for stage in registry.stages if stage.chunk not in ("", LOCAL)]
    chunks = list(dict.fromkeys(stage.chunk for stage in stages))
    ordered = sorted(stages, key=lambda stage: chunks.index(stage.chunk))
    return "".join(f"  {stage.name}: {stage.chunk}\n" for stage in ordered)


def with_groups(profile: str, registry: Registry) -> str:
    """Return the text of a profile with the groups of the registry.

    Raises
    ------
    ValueError
        If it has no ``groups:`` followed by ``group-components:``.
    """
    head, found, rest = profile.partition("\ngroups:\n")
    _, components, tail = rest.partition("group-components:\n")
    if not found or not components:
        raise ValueError("a profile holds 'groups:', and then 'group-components:'")
    return f"{head}{found}{profile_groups(registry)}{components}{tail}"
