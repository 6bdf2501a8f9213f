"""The versions of the stages: raised whenever the same inputs give other results."""

from __future__ import annotations

VERSIONS = {
    "master_bias": 1,
    "master_dark": 1,
    "master_flat": 1,
    "bad_pixels": 1,
    "reduce": 1,
    "register": 1,
    "stack": 2,
    "night_tables": 1,
}
