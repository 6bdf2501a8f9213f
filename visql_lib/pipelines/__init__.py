"""The pipelines: what is one pipeline's own. They do not know each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visql_lib.config import Settings
    from visql_lib.products.registry import Registry


def registry_of(settings: Settings) -> Registry:
    """Return what the pipeline of some settings makes."""
    from visql_lib.pipelines.vis.registry import REGISTRY

    return REGISTRY
