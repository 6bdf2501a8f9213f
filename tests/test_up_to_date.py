"""Exposures that need no jobs: what a run keeps of them, and everything that makes them need some again."""

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visql_lib.pipelines import make_plan, settings_from_mapping
from visql_lib.pipelines.vis.registry import VERSIONS
from visql_lib.products.up_to_date import UpToDateCache
from visql_lib.workflow.requested import prefix_regex, requested_targets

TOY = Path(__file__).parent / "toy_camera.yaml"
MONTH = frozenset({"month"})


class Folder:
    """Raw frames, products that are only names, and one rule."""

    def __init__(self, folder, raw):
        self.folder = folder
        shutil.copytree(raw, folder / "raw")
        self.rule = folder / "all.smk"
        self.rule.write_text("rule catalog: ...")
        plan = self.plan()
        for exposure in self.exposures(plan):
            stem = Path(plan.stem("202407", exposure))
            stem.parent.mkdir(parents=True)
            for ending in (".cat.parquet", ".png"):
                stem.with_name(stem.name + ending).write_text(exposure)

    def plan(self, **changes):
        """Return a plan with the settings as they would be."""
        values = {
            "months": "202407",
            "raw": str(self.folder / "raw"),
            "results": str(self.folder / "results"),
        }
        values |= {"instrument": str(TOY), "index": {"growing_age": 0}, "gaia": {"sources": []}}
        return make_plan(settings_from_mapping(values | changes, "test"), refresh=True)

    def exposures(self, plan=None):
        """Return the exposures of the month."""
        return (plan or self.plan()).exposures("202407")

    def settled(self, targets=MONTH, plan=None, **changes):
        """Return the marks, for a plan made now."""
        return UpToDateCache(plan or self.plan(**changes), targets, [self.rule])

    def product(self, exposure, ending=".png"):
        """Return the path of a product."""
        return Path(f"{self.plan().stem('202407', exposure)}{ending}")


@pytest.fixture
def month(tmp_path, toy_raw):
    """A month after a run for the default target."""
    made = Folder(tmp_path, toy_raw)
    assert made.settled().exposures == set()
    made.settled().keep()
    return made


def test_after_a_run_nothing_needs_jobs(month):
    assert month.settled().exposures == set(month.exposures())
    assert len(month.exposures()) == 6


def touched(path):
    os.utime(path, ns=(1, 1))


def resized(path):
    path.write_text("more than there was")


def added(path):
    path.with_name(f"{path.stem}_new.png").touch()


@pytest.mark.parametrize("harm", [touched, resized, added, Path.unlink], ids=lambda f: f.__name__)
def test_a_changed_product_concerns_its_exposure_only(month, harm):
    first, *others = month.exposures()
    harm(month.product(first))
    assert month.settled().exposures == set(others)


def test_a_folder_that_is_gone(month):
    first, *others = month.exposures()
    shutil.rmtree(month.product(first).parent)
    assert month.settled().exposures == set(others)


def test_changed_tiles_for_the_site(month):
    first, *others = month.exposures()
    tiles = Path(month.plan().tiles_of("202407", first))
    tiles.parent.mkdir(parents=True)
    tiles.touch()
    assert month.settled().exposures == set(others)


def test_a_replaced_frame(month):
    first, *others = month.exposures()
    touched(month.folder / "raw" / f"{first}.fits")
    assert month.settled().exposures == set(others)


def test_a_new_frame_needs_jobs_and_the_others_do_not(month, toy_raw):
    before = set(month.exposures())
    source = next(path for path in sorted(toy_raw.glob("*.fits")) if "C_" in path.name)
    new = month.folder / "raw" / source.name.replace(source.name[2:10], "20240729")
    new.write_bytes(source.read_bytes())
    assert set(month.exposures()) > before
    assert month.settled().exposures == before


@pytest.mark.parametrize(
    "changes",
    [{"stars": {"min_stars": 11}}, {"pictures": {"dpi": 90}}, {"parts": []}],
    ids=["stars", "pictures", "parts"],
)
def test_other_settings_concern_all(month, changes):
    assert month.settled(**changes).exposures == set()


def test_a_raised_stage_version_concerns_all(month, monkeypatch):
    monkeypatch.setitem(VERSIONS, "moments", 1000)
    assert month.settled().exposures == set()


def test_another_version_concerns_all(month, monkeypatch):
    monkeypatch.setattr("visql_lib.products.up_to_date.__version__", "9.9")
    assert month.settled().exposures == set()


def test_changed_rules_concern_all(month):
    month.rule.write_text("rule catalog: other")
    assert month.settled().exposures == set()


def test_other_facts_of_the_instrument_concern_all(month):
    plan = month.plan()
    plan = replace(plan, instrument=plan.instrument.model_copy(update={"name": "another"}))
    assert month.settled(plan=plan).exposures == set()


def test_more_months_concern_nobody(month):
    assert month.settled(months="202406,202407").exposures == set(month.exposures())


def test_another_target_is_looked_at_once(month):
    both = frozenset({"month", "site"})
    assert month.settled(both).exposures == set()
    month.settled(frozenset({"site"})).keep()
    for targets in (both, MONTH, {"site"}):
        assert month.settled(targets).exposures == set(month.exposures())
    assert month.settled({"legacy"}).exposures == set()


@pytest.mark.parametrize("target", ["results/exposures/202407/E/E.cat.parquet", "E_iq.png"])
def test_a_file_among_the_targets_is_for_snakemake(month, target):
    marks = month.settled({"month", target})
    assert marks.exposures == set()
    marks.keep()
    assert month.settled().exposures == set(month.exposures())


def test_a_command_that_does_more_leaves_the_marks_alone(month):
    marks = month.settled(None)
    assert marks.exposures == set()
    marks.keep()
    assert month.settled().exposures == set(month.exposures())


def test_what_is_unfinished_needs_jobs_next_time(month):
    first, *others = month.exposures()
    month.settled().keep([first])
    assert month.settled().exposures == set(others)


def test_a_link_to_nowhere_among_the_products_is_a_change_and_no_end(month):
    """Catalogues of old months may lie on another disk, which is not always there."""
    first, *others = month.exposures()
    product = month.product(first)
    product.unlink()
    product.symlink_to(month.folder / "away.png")
    assert month.settled().exposures == set(others)
    month.settled().keep()
    assert month.settled().exposures == set(month.exposures())
    (month.folder / "away.png").touch()
    assert month.settled().exposures == set(others)


def test_marks_that_cannot_be_kept_do_not_fail_a_run(month, caplog):
    path = month.folder / "results" / "up_to_date" / "202407.json"
    path.unlink()
    path.mkdir()
    month.settled().keep()
    assert f"{path}: cannot be written" in caplog.text
    assert month.settled().exposures == set()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": 1}', '{"key": null, "entries": 3, "notes": {}}'])
def test_a_broken_file_of_marks_costs_time_only(month, content):
    path = month.folder / "results" / "up_to_date" / "202407.json"
    whole = path.read_text()
    for text in (content, whole[: len(whole) // 2], whole.replace("[", "{", 1)):
        path.write_text(text)
        assert month.settled().exposures == set()
    month.settled().keep()
    assert month.settled().exposures == set(month.exposures())


def with_sources(plan, days=(), tiles=()):
    """A plan whose exposures are made from some days of GOES, and one of them from tiles, by its name."""
    tiles = dict(tiles)
    plan.__dict__["radiation"] = SimpleNamespace(
        installed=True, goes_days=lambda *_: [str(day) for day in days]
    )
    plan.__dict__["gaia"] = SimpleNamespace(
        is_matched=lambda row: row.exposure in tiles, tiles=lambda _, exposure: [str(tiles[exposure])]
    )
    return plan


def test_a_day_of_goes_that_comes_during_a_run_was_used_by_it(month, tmp_path):
    day = tmp_path / "day.parquet"
    marks = month.settled(plan=with_sources(month.plan(), [day]))
    day.write_text("first")
    marks.keep()
    plan = with_sources(month.plan(), [day])
    assert month.settled(plan=plan).exposures == set(month.exposures())


def test_a_day_of_goes_renewed_during_a_run_is_for_the_next(month, tmp_path):
    day = tmp_path / "day.parquet"
    day.write_text("preliminary")
    marks = month.settled(plan=with_sources(month.plan(), [day]))
    day.write_text("final values")
    marks.keep()
    assert month.settled(plan=with_sources(month.plan(), [day])).exposures == set()


@pytest.mark.parametrize("harm", [touched, resized, Path.unlink], ids=lambda f: f.__name__)
def test_another_tile_of_reference_stars_concerns_the_exposures_on_it(month, tmp_path, harm):
    first, *others = month.exposures()
    tile = tmp_path / "17.parquet"
    tile.write_text("stars")
    month.settled(plan=with_sources(month.plan(), tiles={first: tile})).keep()
    assert month.settled(plan=with_sources(month.plan(), tiles={first: tile})).exposures == {first, *others}
    harm(tile)
    assert month.settled(plan=with_sources(month.plan(), tiles={first: tile})).exposures == set(others)


def test_marks_are_of_the_row_as_it_was_planned(month):
    plan = month.plan()
    marks = month.settled(plan=plan)
    first, *others = month.exposures()
    plan.sheets["202407"] = [
        replace(row, exptime=1.0) if row.exposure == first else row for row in plan.sheets["202407"]
    ]
    marks.keep()
    assert month.settled(plan=plan).exposures == set(others)


NAMES = st.lists(st.text("AB_.(", min_size=1, max_size=4), max_size=9)


@given(NAMES, NAMES)
def test_names_are_prefix_regex(some, others):
    text = prefix_regex(some, others)
    for name in {*some, *others}:
        assert bool(re.fullmatch(text, name)) == (name in some)
        assert bool(re.match(f"(?!(?:{text})/)[^/]+/", f"{name}/")) == (name not in some)


def test_what_tells_days_apart_is_short():
    """As long as in a month from the middle of which on exposures are new."""
    names = [
        f"C_202407{d:02d}_{h:02d}{m:02d}00_W_{d * h * m:08X}"
        for d in range(1, 31)
        for h in range(24)
        for m in (1, 31)
    ]
    assert len(prefix_regex(names[:700], names)) < 150
    assert len(prefix_regex(names[700:], names)) < 150
    assert prefix_regex(names, names) == "[^/]*"


@pytest.mark.parametrize(
    ("command", "targets"),
    [
        ("", {"month"}),
        ("month site", {"month", "site"}),
        ("-n month", {"month"}),
        ("--cores 2 --quiet rules --keep-going --config months=202407 --dry-run", {"month"}),
        ("gaia --retries 3 --rerun-incomplete --printshellcmds", {"gaia"}),
        ("--executor local --jobs 100 --default-resources mem_mb=1000", {"month"}),
        pytest.param("--executor slurm --jobs 9 --slurm-logdir logs", {"month"}, marks=pytest.mark.heavy),
        ("--forceall", None),
        ("--forcerun catalog", None),
        ("month --force", None),
        ("--summary", None),
        ("--report report.html", None),
        ("--dag", None),
        ("--touch", None),
        ("--until stars", None),
        ("--omit-from stars", None),
        ("--delete-all-output", None),
        ("--list-changes code", None),
        ("--rerun-triggers mtime", None),
        ("--archive all.tar.gz", None),
        ("--unlock", None),
        ("--no-such-option", None),
    ],
)
def test_commands_that_only_make_what_is_missing(command, targets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert requested_targets(["/bin/snakemake", *command.split()], "month") == targets
    assert requested_targets(["/x/snakemake/__main__.py", *command.split()], "month") == targets
    assert requested_targets(["pytest", *command.split()], "month") is None


def test_a_profile_counts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    profile = tmp_path / "mine"
    profile.mkdir()
    for text, targets in (("keep-going: true\n", {"month"}), ("forceall: true\n", None)):
        (profile / "config.yaml").write_text(text)
        assert requested_targets(["snakemake", "--profile", str(profile)], "month") == targets
