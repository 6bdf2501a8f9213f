"""Versions of the stages of the reduction: raised when numbers or pictures of a stage change."""

from __future__ import annotations

VERSIONS: dict[str, int] = {
    "master_bias": 1,
    "master_dark": 1,
    "register": 1,
    "stack": 1,
}
