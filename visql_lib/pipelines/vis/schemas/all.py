"""All tables VISQL writes, for the documentation."""

from __future__ import annotations

from visql_lib.pipelines.vis.schemas.archive_names import ARCHIVE_NAMES
from visql_lib.pipelines.vis.schemas.detector import DETECTOR_TABLES
from visql_lib.pipelines.vis.schemas.gaia import GAIA_TABLES
from visql_lib.pipelines.vis.schemas.leak import LEAK
from visql_lib.pipelines.vis.schemas.performance import PERFORMANCE
from visql_lib.pipelines.vis.schemas.radiation import RADIATION_TABLES
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
