# What only the rules of VIS share.

from visql_lib.pipelines.vis.frame_stages import CATALOGUED
from visql_lib.pipelines.vis.month_stages import MOVIES

MONTHS = GROUP
TIMELINE = f"{RESULTS}/timeline"
NOT_CATALOGUED = PLAN.not_of_type(*CATALOGUED)
FLATS = PLAN.of_type("FLAT")
WITHOUT_RAW = PLAN.without_raw()

# Changed settings of calibration frames must not rerun all SCIENCE frames.
SETTINGS_OF_SCIENCE = PLAN.config_of("catalog", "preview")
SETTINGS_OF_OTHERS = PLAN.config_of(*PLAN.registry["catalog"].settings)


def settings_of_frame(wildcards):
    """Choose the file with the settings of an exposure's catalogue."""
    science = sheet_value("frame_type")(wildcards) == "SCIENCE"
    return SETTINGS_OF_SCIENCE if science else SETTINGS_OF_OTHERS


def queries_of(part):
    """Make an input function for the pending queries of a part, if the default target includes it."""
    return lambda wildcards: (
        getattr(PLAN, part).pending_queries if part in PLAN.parts else []
    )
