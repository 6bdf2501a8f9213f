"""The profiles for clusters: every rule has its place in them, and no cluster is named in the rules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from visql_lib.pipelines.vis.registry import REGISTRY
from visql_lib.products.registry import Per

ROOT = Path(__file__).parents[1]
CLUSTERS = ("slurm", "cluster-generic")
RULES = {
    name: text
    for path in [ROOT / "Snakefile", *(ROOT / "workflow" / "rules").rglob("*.smk")]
    if path.parent.name
    not in ("reduction", "pointing", "lightcurves")  # jobs of sets, chunks, hours go alone
    for name, text in re.findall(r"^rule (\w+):\n((?:^(?: .*)?\n)+)", path.read_text(encoding="utf-8"), re.M)
}
LOCAL = set(
    re.findall(
        r"^    (\w+),$",
        "".join(
            re.findall(
                r"^localrules:\n((?:    .*\n)+)", (ROOT / "workflow/rules/vis/main.smk").read_text(), re.M
            )
        ),
        re.M,
    )
)
# Minutes of work each, in a job of their own.
ALONE = {"movie", "last_movie", "site"}


def profile(name: str) -> dict:
    return yaml.safe_load((ROOT / "workflow" / "profiles" / name / "config.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_rule_is_local_or_in_a_group_or_alone(name):
    groups = profile(name)["groups"]
    assert set(groups) | LOCAL | ALONE == set(RULES)
    assert not set(groups) & (LOCAL | ALONE)


@pytest.mark.parametrize("name", CLUSTERS)
def test_the_steps_of_an_exposure_travel_in_chunks(name):
    groups, chunks = profile(name)["groups"], profile(name)["group-components"]
    by_exposure = {stage.name for stage in REGISTRY.of(Per.FRAME)}
    assert {rule for rule, group in groups.items() if group in ("exposure", "tiles")} == by_exposure
    assert set(chunks) == set(groups.values())
    assert min(chunks.values()) >= 10


def test_both_profiles_make_the_same_chunks():
    slurm, generic = map(profile, CLUSTERS)
    assert {k: v for k, v in slurm.items() if "slurm" not in k and k != "executor"} == {
        k: v for k, v in generic.items() if k != "executor"
    }


@pytest.mark.parametrize("name", CLUSTERS)
def test_what_is_the_clusters_is_left_to_its_users(name):
    """A key of the workflow's profile would win over the user's file."""
    assert not {"default-resources", "set-resources", "jobs", "slurm-logdir"} & set(profile(name))
    for rule, text in RULES.items():
        assert not re.search(r"\b(mem\w*|slurm\w*|partition|account|qos)=", text), rule
