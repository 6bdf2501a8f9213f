"""What the result of a stage hangs on besides its inputs: its version, facts of the camera, the query."""

from __future__ import annotations

# Raised whenever the same inputs give other results.
VERSIONS = {
    "exposure": 1,
    "pointing_masters": 1,
    "night_index": 1,
    "night_table": 1,
    "night_picture": 1,
    "night_movie": 1,
    "interval_movie": 1,
    "season": 1,
}

# Facts of the camera that an exposure is measured with.
FACTS = (
    "header",
    "amplifiers",
    "frame_types",
    "bits",
    "bit_shift",
    "exposure_time_ranges",
    "night",
    "guide",
)

QUERY = (
    "vizier_catalogue",
    "tap_table",
    "faintest",
)  # what reference stars there are, not where they are from
