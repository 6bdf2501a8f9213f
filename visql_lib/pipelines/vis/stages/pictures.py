"""Stage `pictures`: the pictures of one exposure, from its tables."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from visql_lib.pipelines.vis.registry import REGISTRY
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.context import Context
from visql_lib.steps.pictures import PictureInputs, PictureOutputs, PictureSources
from visql_lib.tables.store import read_meta


def run(context: Context[VisSettings], inputs: PictureInputs) -> PictureOutputs:
    """Draw what some tables of an exposure allow, or only some pictures.

    Raises
    ------
    RequestError
        If the tables do not allow what is wanted.
    TableError
        If a table cannot be read.
    """
    return _Sources(REGISTRY.drawings, context, inputs).outputs()


class _Sources(PictureSources):
    """With what only tables of VIS hold."""

    @cached_property
    def exptime(self) -> Any:
        """Exposure time [s] from the catalogue's metadata, None if it has none."""
        return self.table("catalogue").meta.get("exptime")

    @cached_property
    def selection(self) -> Mapping[str, Any]:
        """The result of the star selection; empty if the table has none."""
        return read_meta(self.paths["stars"]).get("selection") or {}
