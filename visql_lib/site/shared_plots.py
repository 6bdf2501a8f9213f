"""Plots that the pages of all frames of a group share: one script, in which each marks its own points."""

from __future__ import annotations

from dataclasses import dataclass

from visql_lib.products.pages import GroupPlots
from visql_lib.site.state import Store


@dataclass(frozen=True)
class SharedPlots:
    """The plots of a group's frames: path of the script in the site, the HTML it fills; both "" for none."""

    script: str = ""
    html: str = ""
    heading: str = ""


def shared_plots(store: Store, group: str, made_from: GroupPlots) -> SharedPlots:
    """Write the plots of a group's frames, unless that was done; their HTML is kept beside the script.

    The script names the elements that it fills, so that both are made together.
    """
    script, kept = f"data/frames_{group}.js", f"data/frames_{group}.part"
    if not made_from.digest:
        for path in (script, kept):
            if path in store.pages:
                store.remove(path)
        return SharedPlots()

    def make() -> bytes:
        text, html = made_from.make()
        store.put(kept, html.encode())
        return text.encode()

    if not (store.out / kept).is_file():
        store.pages.pop(script, None)
    store.renew(script, made_from.digest, make)
    html = (store.out / kept).read_text(encoding="utf-8")
    return SharedPlots(script, html, made_from.heading) if html else SharedPlots()
