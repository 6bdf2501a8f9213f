"""What there is to make: months, exposures and their products, as the workflow needs to know them."""

from visql_lib.plan.core import (
    CATALOGUED,
    MOMENT_PICTURES,
    QUALITY_TEXTS,
    SCIENCE_PICTURES,
    Plan,
    month_list,
)
from visql_lib.plan.expected import missing
from visql_lib.plan.gaia import GAIA_PICTURES
from visql_lib.plan.radiation import RADIATION_PICTURES
from visql_lib.plan.states import complaint, exposure_states

__all__ = [
    "CATALOGUED",
    "GAIA_PICTURES",
    "MOMENT_PICTURES",
    "QUALITY_TEXTS",
    "RADIATION_PICTURES",
    "SCIENCE_PICTURES",
    "Plan",
    "complaint",
    "exposure_states",
    "missing",
    "month_list",
]
