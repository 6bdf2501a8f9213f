"""Lay out interactive plots on a page: key, headings, panels, and lines for missing ones."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import bokeh
from bokeh.document import Document
from bokeh.embed import components

from visql_lib.plots.core import GROUPS, Panel, Plot

_TAGS = re.compile(r"^\s*<script[^>]*>|</script>\s*$")
# A shape and what it means.
_SIGNS = {
    "●": "ok",
    "+": "not judged",
    "◆": "warning",
    "■": "error",
    "✕": "failed or no value",
    "△▽": "beyond the panel",
}


def bokeh_files() -> dict[str, bytes]:
    """Read the scripts of a page with plots, by file name: BokehJS as installed, never from a network."""
    folder = Path(bokeh.__file__).parent / "server" / "static" / "js"
    return {name: (folder / name).read_bytes() for name in ("bokeh.min.js",)}


@dataclass(frozen=True)
class PlotSection:
    """Panels under one heading: figures, or a line of text where there is nothing to draw."""

    heading: str
    items: tuple[Plot | str, ...]


def without_data(panels: Sequence[Panel], what: str) -> Iterator[str]:
    """Yield one line that names the panels that are not drawn."""
    if panels:
        yield f"{', '.join(panel.label for panel in panels)}: {what}"


def markup(
    sections: Sequence[PlotSection],
    groups: Mapping[str, int],
    *,
    colours: Mapping[str, tuple[str, str]] = GROUPS,
    spans: Mapping[str, float] | None = None,
    signs: Mapping[str, str] = _SIGNS,
    notes: Sequence[str] = (),
    verb: str = "open it",
) -> tuple[str, str]:
    """Compose Bokeh's script, without its tags, and the HTML that holds the panels.

    Parameters
    ----------
    sections : sequence of PlotSection
    groups : mapping
        Colour group -> number of points, for the key; each can be switched off.
    colours : mapping
        Colour group -> colours on light and dark paper.
    spans : mapping, optional
        Buttons: text -> days shown, counted back from the last point.
    signs : mapping
        Sign -> what it means, for the key.
    notes : sequence of str
        Lines below the key.
    verb : str
        What a click on a point does.
    """
    plots = [item for section in sections for item in section.items if not isinstance(item, str)]
    script, divs = _components(plots) if plots else ("", ())
    rest = iter(divs)
    parts = ['<div class="plots" data-plots>']
    parts += _key(groups, colours, signs, spans or {}, verb) if plots else []
    parts += [f'<p class="plots-note">{html.escape(note)}</p>' for note in notes]
    parts.append('<div class="plots-sections">')
    for section in sections:
        parts += [f'<section class="plots-section"><h3>{html.escape(section.heading)}</h3>']
        for item in section.items:
            if isinstance(item, str):
                parts.append(f'<p class="plots-none">{html.escape(item)}</p>')
            else:
                against = item.below[0].axis_label or "time"
                label = html.escape(f"{item.title.text}, against {against}", quote=True)
                opening = f'<div class="plots-panel" role="group" aria-label="{label}"'
                parts.append(f'{opening} style="height:{item.height}px">{next(rest).strip()}</div>')
        parts.append("</section>")
    parts.append("</div></div>")
    return _TAGS.sub("", script), "\n".join(parts)


def _components(plots: Sequence[Plot]) -> tuple[str, tuple[str, ...]]:
    """Make Bokeh's components of panels; their models are traversed once, not once for each panel."""
    document = Document()
    with document.models.freeze():
        for plot in plots:
            document.add_root(plot)
    script, divs = components(tuple(plots))
    return script, tuple(divs)


def _key(
    groups: Mapping[str, int],
    colours: Mapping[str, tuple[str, str]],
    signs: Mapping[str, str],
    spans: Mapping[str, float],
    verb: str,
) -> Iterator[str]:
    """Yield the buttons and the meaning of colours and shapes."""
    yield '<div class="plots-key">'
    yield '<span class="plots-buttons"><button type="button" data-plots-days="all">show all</button>'
    for text, days in spans.items():
        yield f'<button type="button" data-plots-days="{days:g}">{html.escape(text)}</button>'
    yield "</span>"
    for name, number in groups.items():
        light, dark = colours[name]
        safe = html.escape(name, quote=True)
        tint = f"--plots-light:{light};--plots-dark:{dark}"
        yield (
            f'<label class="plots-group" style="{tint}">'
            f'<input type="checkbox" checked data-plots-group="{safe}">'
            f'<span class="plots-swatch" aria-hidden="true"></span>{safe} <small>{number}</small></label>'
        )
    if signs:
        texts = (f"<span>{sign} {html.escape(text)}</span>" for sign, text in signs.items())
        yield f'<span class="plots-signs">{" ".join(texts)}</span>'
    help_text = f"Drag to zoom, shift and wheel to zoom in time, click a point to {verb}."
    yield f'<span class="plots-help">{html.escape(help_text)}</span>'
    yield "</div>"
