"""Stage `pictures`: the pictures of one exposure, from its tables."""

from __future__ import annotations

from functools import cached_property

from visql_lib.pipelines.vis.registry import REGISTRY
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.context import Context
from visql_lib.steps.pictures import PictureInputs, PictureOutputs, PictureSources
from visql_lib.tables.metadata import FrameMetadata, Selection, StarMetadata, facts_in
from visql_lib.tables.store import read_facts


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
    def exptime(self) -> float:
        """Exposure time [s] from the catalogue's metadata, NaN if it has none."""
        return facts_in(self.table("catalogue").meta, FrameMetadata, self.paths["catalogue"]).exptime

    @cached_property
    def selection(self) -> Selection:
        """The result of the star selection; nothing known if the table has none."""
        return read_facts(self.paths["stars"], StarMetadata).selection or Selection()
