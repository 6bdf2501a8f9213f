"""The versions of the stages: raised whenever the same inputs give other results."""

from __future__ import annotations

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
