"""The settings of VIS."""

from __future__ import annotations

from visql_lib.config import Settings

VisSettings = Settings
