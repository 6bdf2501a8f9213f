"""A stage's version, raised: as an upgrade does it."""

from pathlib import Path

from visql_lib.pipelines.vis.registry import REGISTRY


def raise_version(stage: str) -> None:
    """Raise the version of a stage, or of a part of it, wherever it counts."""
    version = REGISTRY.versions[stage] + 1
    for other in REGISTRY.stages:
        if stage in other.versions:
            other.versions[stage] = version
    REGISTRY.versions[stage] = version


def in_all_commands(stage: str) -> str:
    """Return the text of a sitecustomize.py that raises it in every process."""
    return Path(__file__).read_text(encoding="utf-8") + f"\n\nraise_version({stage!r})\n"
