"""Where products come from: their records, and two runs that give the same bytes."""

import gzip
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from threading import Barrier

import numbers_of_stages
import numpy as np
import pytest
import yaml
from astropy.io import fits
from click.testing import CliRunner
from raised import in_all_commands
from toy_month import ROOT, Month, verified

from visql_lib import __version__, run_record
from visql_lib.cli import cli
from visql_lib.cli.outputs import save_picture
from visql_lib.frames import load_instrument
from visql_lib.images.image import Image
from visql_lib.images.writing import write_image
from visql_lib.movies.encode import encode_piece, write_movie
from visql_lib.pipelines import settings_from_mapping
from visql_lib.pipelines.vis.registry import REGISTRY, VERSIONS
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.context import Context
from visql_lib.simulate.goes import Flare, GoesDay, write_goes_day
from visql_lib.steps import catalog, preview
from visql_lib.tables import QUADRANTS, STARS, read_facts, read_table, write_table
from visql_lib.tables.metadata import FrameMetadata
from visql_lib.tables.provenance import (
    DECLARED,
    NoRecordError,
    actual_checksum,
    checksum_of,
    read_record,
    sidecar,
    write_sidecar,
)


def run(*arguments):
    """Run a command in this process; return what it said."""
    done = CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False, standalone_mode=False)
    return done.output


@pytest.fixture
def step():
    """A step that runs, so that what is read is noted."""
    with run_record.recording("test"):
        yield


def picture(path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 1))
    figure.add_axes((0, 0, 1, 1)).plot([1, 2])
    save_picture(figure, path, None, "pictures")


def movie(path):
    frames = (np.full((64, 64, 4), 9 * n, np.uint8) for n in range(3))
    write_movie([encode_piece(frames, (64, 64), 2)], 2, path, {"movies": 1})


def table(path, **options):
    write_table(path, STARS.empty(), STARS, stage="stars", stage_version=7, **options)


def text(path):
    path.write_text("1 2\n")
    write_sidecar(path, {"legacy": 1})


MAKERS = {"p.png": picture, "m.mp4": movie, "t.parquet": table, "x.cat": text}


@pytest.mark.parametrize("name", MAKERS)
def test_every_kind_of_product_holds_its_record(name, tmp_path, step):
    path = tmp_path / name
    MAKERS[name](path)
    record = read_record(path)
    assert record["checksum"] == actual_checksum(path) == checksum_of(path)
    assert record["visql"] == __version__
    assert record["host"]
    assert record["duration"] >= 0
    assert "numpy" in record["libraries"]
    # The same again: the same checksum, and nothing differs but what is declared.
    MAKERS[name](path)
    again = read_record(path)
    assert {k: v for k, v in record.items() if k not in DECLARED} == {
        k: v for k, v in again.items() if k not in DECLARED
    }


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("place", [0.3, 0.6])
def test_a_changed_byte_is_seen(name, place, tmp_path):
    path = tmp_path / name
    MAKERS[name](path)
    kept, content = read_record(path)["checksum"], bytearray(path.read_bytes())
    if name == "t.parquet":  # no rows, a long footer: what it says of itself counts, too
        content = content.replace(b'"product": "stars"', b'"product": "stabs"')
    elif name == "m.mp4":
        content[int(place * content.index(b"uuid"))] ^= 16
    else:
        start = max(content.find(b"IDAT"), 0)
        content[start + int(place * (len(content) - start))] ^= 16
    path.write_bytes(content)
    assert actual_checksum(path) != kept


def test_what_is_read_is_told_with_its_checksum(tmp_path, step):
    first, second, other = (
        tmp_path / "a" / "first.parquet",
        tmp_path / "b" / "second.parquet",
        tmp_path / "o.txt",
    )
    other.write_text("x")
    table(first)
    read_table(first)
    table(second, inputs=[other])
    assert read_record(second)["inputs"] == {
        "../a/first.parquet": read_record(first)["checksum"],
        "../o.txt": actual_checksum(other),
    }
    # Far off, only its name is told: results may move, raw frames lie elsewhere.
    deep = tmp_path / "1" / "2" / "3" / "4" / "t.parquet"
    table(deep)
    assert set(read_record(deep)["inputs"]) == {"first.parquet"}


def test_nothing_is_noted_outside_a_step(tmp_path):
    table(tmp_path / "a.parquet")
    read_table(tmp_path / "a.parquet")
    table(tmp_path / "b.parquet")
    assert read_record(tmp_path / "b.parquet")["inputs"] == {}


def test_a_frame_has_the_same_checksums_however_it_is_packed(toy_raw, tmp_path):
    frame = sorted(toy_raw.glob("*.fits"))[0]
    encode_piece = tmp_path / f"{frame.name}.gz"
    with gzip.open(encode_piece, "wb") as file:
        file.write(frame.read_bytes())
    toy = {"instrument": str(ROOT / "tests" / "toy_camera.yaml")}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(toy))
    told = []
    for path in (frame, encode_piece):
        out = tmp_path / path.name.replace(".", "_")
        run("preview", path, "-o", out, "--quadrants", f"{out}.parquet", "--config", tmp_path / "c.yaml")
        record = read_record(Path(f"{out}.parquet"))
        (raw,) = record["inputs"].values()
        assert raw["size"] == path.stat().st_size
        told.append((raw["header"], raw["pixels"]))
        assert record["settings"].keys() == {"preview", "calibration"}
        assert {"geometry", "detector"} <= record["facts"].keys()
        # A picture of the same step tells the same.
        picture = read_record(Path(f"{out}.png"))
        assert picture["inputs"] == record["inputs"]
        assert picture["stages"] == {"preview": VERSIONS["preview"]}
    assert told[0] == told[1]
    content = bytearray(frame.read_bytes())
    content[-4000] ^= 1
    other = tmp_path / frame.name
    other.write_bytes(content)
    run(
        "preview",
        other,
        "-o",
        tmp_path / "x",
        "--quadrants",
        tmp_path / "x.parquet",
        "--config",
        tmp_path / "c.yaml",
    )
    (raw,) = read_record(tmp_path / "x.parquet")["inputs"].values()
    assert raw["header"] == told[0][0]
    assert raw["pixels"] != told[0][1]


def test_the_command_tells_and_refuses(tmp_path, step):
    path = tmp_path / "t.parquet"
    run_record.current().use_setting("catalog", load("catalog"))
    table(path)
    said = run("provenance", path)
    assert re.search(rf"^by +VISQL {__version__}, stage stars 7$", said, re.M)
    assert re.search(r"^ *(settings)? +catalog.threshold: 1.5$", said, re.M)
    assert json.loads(run("provenance", path, "--json")) == read_record(path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(NoRecordError, match=r"notes.txt: has no provenance record"):
        run("provenance", tmp_path / "notes.txt")


def load(section):
    from visql_lib.pipelines.vis.settings import VisSettings

    return getattr(VisSettings(), section)


def test_old_products_say_that_they_have_no_record(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": [1]}), tmp_path / "old.parquet")
    with pytest.raises(NoRecordError, match="has no provenance record"):
        read_record(tmp_path / "old.parquet")
    assert len(checksum_of(tmp_path / "old.parquet")) == 32


def test_the_time_can_be_fixed(tmp_path, monkeypatch, step):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    for name, make in MAKERS.items():
        paths = [tmp_path / folder / name for folder in "ab"]
        for path in paths:
            path.parent.mkdir(exist_ok=True)
            make(path)
        assert paths[0].read_bytes() == paths[1].read_bytes()
        assert read_record(paths[0])["made"] == "2023-11-14T22:13:20+00:00"
    assert sidecar(tmp_path / "a" / "x.cat").read_bytes() == sidecar(tmp_path / "b" / "x.cat").read_bytes()


def test_two_frames_in_one_process_do_not_mix_their_provenance(tmp_path):
    """In threads of one process, turn by turn: each product tells its own frame's inputs, settings and facts."""
    turns = Barrier(2, timeout=60)

    def frame(name, section, fact):
        (tmp_path / f"{name}_raw.parquet").unlink(missing_ok=True)
        table(tmp_path / f"{name}_raw.parquet")
        with run_record.recording(name):
            turns.wait()
            read_table(tmp_path / f"{name}_raw.parquet")
            turns.wait()
            context = Context.using(VisSettings(), (section,), (fact,))
            turns.wait()
            assert context.settings.plate
            assert context.instrument.photometry  # looking does not note it
            turns.wait()
            table(tmp_path / f"{name}.parquet")
        return read_record(tmp_path / f"{name}.parquet")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(frame, "A", "stars", "score")
        second = pool.submit(frame, "B", "moments", "detector")
        records = [first.result(), second.result()]
    assert [list(record["inputs"]) for record in records] == [["A_raw.parquet"], ["B_raw.parquet"]]
    assert [list(record["settings"]) for record in records] == [["stars"], ["moments"]]
    assert [list(record["facts"]) for record in records] == [["score"], ["detector"]]


def test_stages_of_two_frames_in_one_process_do_not_mix_their_provenance(toy_raw, tmp_path):
    """Quadrant by quadrant in turn: each table tells its own frame, and the settings of its own stage."""
    frames, turns = sorted(toy_raw.glob("*.fits"))[:2], Barrier(2, timeout=60)
    instrument = str(ROOT / "tests" / "toy_camera.yaml")

    @contextmanager
    def in_turn(label, total):
        yield turns.wait

    def frame(raw, stage, made_by, threshold):
        values = {"instrument": instrument, "catalog": {"threshold": threshold}}
        with run_record.recording(stage):
            turns.wait()
            context = Context.of(REGISTRY[stage], settings_from_mapping(values), in_turn)
            made = made_by(context)
            turns.wait()
            path = tmp_path / f"{raw.stem}.parquet"
            write_table(path, made.found.quadrants, QUADRANTS, stage=stage, meta=made.meta)
            turns.wait()
        return read_record(path), read_facts(path, FrameMetadata)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(
            frame, frames[0], "catalog", lambda c: catalog.run(c, catalog.CatalogInputs(frames[0])), 7
        )
        second = pool.submit(
            frame, frames[1], "preview", lambda c: preview.run(c, preview.PreviewInputs(frames[1])), 8
        )
        found = [first.result(), second.result()]
    for (record, facts), raw in zip(found, frames, strict=True):
        assert [Path(name).name for name in record["inputs"]] == [raw.name]
        assert facts.exposure == raw.stem
        assert facts.pixels == next(iter(record["inputs"].values()))["pixels"]
        assert record["facts"].keys() == {"geometry", "detector", "frame_types"}
    settings = [record["settings"] for record, _ in found]
    assert [set(each) for each in settings] == [
        {"catalog", "preview", "calibration"},
        {"preview", "calibration"},
    ]
    assert settings[0]["catalog"]["threshold"] == 7


def test_a_run_within_a_run_has_its_own_record():
    with run_record.recording("outer") as outer:
        with run_record.recording("inner"):
            run_record.current().use_setting("stars", load("stars"))
        assert run_record.current() is outer
    assert outer.settings == {}
    run_record.current().use_setting("stars", load("stars"))
    assert run_record.current().settings == {}  # outside a run nothing is kept


def test_a_context_notes_what_its_stage_declares(step):
    """Sections that change results, and facts that the instrument has."""
    Context.of(
        REGISTRY["plate"], VisSettings()
    )  # declares the folder of the results, too, which is no section
    assert set(run_record.current().settings) == {"plate", "preview", "gaia"}
    assert set(run_record.current().facts) == {"geometry", "sky_distortion"}
    other = VisSettings(instrument=str(ROOT / "tests" / "instruments" / "maxim.yaml"))
    assert not load_instrument(other.instrument).has("score")
    Context.using(other, (), ("score", "amplifiers"))
    assert set(run_record.current().facts) == {"geometry", "sky_distortion", "amplifiers"}


def test_raised_stages_are_noted_in_the_changes():
    """A stage is raised because its numbers or pictures change: users must learn of it."""
    changes = (ROOT / "CHANGELOG.md").read_text()
    for stage, version in VERSIONS.items():
        if version > FIRST.get(stage, 1):
            assert f"`stage {stage} {version}`" in changes, (
                f"CHANGELOG.md: say what `stage {stage} {version}` is"
            )


FIRST = {"catalog": 4, "preview": 2, "trend": 2}  # before there was this rule


# Everything of a month, twice.

PARTS = ["gaia", "radiation", "movies", "performance"]
# Whose subject is when products were made; what tells when a service was asked.
TIMES = re.compile(r"performance_|pipelineperf|^goes/|^gaia/")


@pytest.fixture(scope="module")
def runs(toy_raw, tmp_path_factory):
    """Two runs of everything on the same raw frames, in different folders, in one time."""
    base = tmp_path_factory.mktemp("twice")
    shutil.copytree(toy_raw, base / "raw")
    write_goes_day(GoesDay(date(2024, 7, 13), flares=[Flare(3.6, "M5.3")]), base / "goes")
    found = [Month(base / name) for name in ("one", "elsewhere")]
    with pytest.MonkeyPatch.context() as patch:
        for cores, month in enumerate(found, 1):
            month.folder.mkdir()
            configure(month)
            patch.setenv("SOURCE_DATE_EPOCH", "1700000000")
            code, said = month.run("month", "legacy", "--quiet", "rules", cores=cores)
            assert code == 0, said
    return found


def configure(month, **changes):
    """Configure a month other than by default wherever a rule gives its settings to a step."""
    base = month.folder.parent
    values = {
        "gaia": {"sources": "folder", "folder": str(base / "raw" / "truth"), "faintest": 20.9},
        "goes": {"sources": "folder", "folder": str(base / "goes"), "final_after": 1e5, "hours": 11},
        "ratios": {"gain": "none"},
        "plate": {"solve": "no"},
        "catalog": {"threshold": 1.6},
        "preview": {"zoom_size": 300},
        "stars": {"min_stars": 9},
        "moments": {"iterations": 6},
        "pictures": {"dpi": 80},
        "astrometry": {"min_stars": 9},
        "trend": {"warn_loss": 19},
        "radiation": {"lit_sigma": 4},
        "calibration": {"hot_sigma": 7},
        "movies": {"width": 640},
    }
    month.configure(raw=str(base / "raw"), parts=PARTS, **values | changes)


def products(month):
    """Return all files of exposures, months and timeline by their paths, records too."""
    folders = ("exposures", "months", "timeline", "gaia", "goes")
    files = [path for name in folders for path in (month.results / name).rglob("*") if path.is_file()]
    return {
        str(path.relative_to(month.results)): path
        for path in files
        if path.name not in (".lock", ".snakemake_timestamp")
    }


@pytest.mark.heavy
def test_two_runs_give_the_same_bytes(runs):
    one, two = map(products, runs)
    assert one.keys() == two.keys()
    assert len(one) > 250
    different = [name for name in one if one[name].read_bytes() != two[name].read_bytes()]
    assert [name for name in different if not TIMES.search(name)] == []
    for name in [name for name in one if name.startswith(("goes/", "gaia/"))]:
        assert checksum_of(one[name]) == checksum_of(two[name])


@pytest.mark.heavy
def test_every_product_answers(runs):
    for name, path in products(runs[0]).items():
        if path.name.startswith(".") or re.fullmatch(r"exposures/\d+\.tsv", name):
            continue
        record = read_record(path)
        assert record["stages"], name
        assert record["inputs"] or "goes_" in name or "gaia/" in name, name


@pytest.mark.heavy
def test_a_month_of_everything_is_verified(runs):
    """None of the settings that are not the default is said to have changed: rules and steps agree on them."""
    assert verified(runs[0], "--deep") == []
    configure(runs[0], goes={"sources": [], "hours": 11, "final_after": 1e5})
    assert [f for f in verified(runs[0]) if "goes" in f[2]] == []
    configure(runs[0])


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("stage", "rules", "left"),
    [
        (
            "moments",
            {"moments", "pictures", "gaia_match", "image_quality"},
            {"catalog", "stars", "particles"},
        ),
        (
            "gaia_match",
            {"gaia_match", "geometry", "ratios"},
            {"catalog", "moments", "gaia_project", "pictures"},
        ),
        ("radiation", {"particles", "month_radiation", "movie"}, {"catalog", "angles", "detector"}),
        ("trend", {"trend", "month_trend"}, {"ratios", "ratio_pictures", "image_quality"}),
    ],
)
def test_an_upgrade_makes_again_what_depends_on_it(runs, stage, rules, left, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(in_all_commands(stage))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    jobs = runs[0].missing()
    assert rules <= jobs.keys()
    assert not left & jobs.keys()
    found = verified(runs[0])
    assert found
    assert all(f"stage {stage} is {VERSIONS[stage] + 1}" in reason for _, _, reason in found)


def test_a_number_that_changes_without_its_stage_is_told(tmp_path, monkeypatch):
    path = tmp_path / "E_stars2.parquet"
    columns = {
        c.name: np.arange(1, 6) if c.dtype != "str" else np.array(list("aabbb")) for c in STARS.columns
    }
    write_table(path, columns, STARS)
    monkeypatch.setattr(numbers_of_stages, "KEPT", tmp_path / "numbers.yaml")
    with pytest.raises(AssertionError, match="run again with VISQL_RENEW=1"):
        numbers_of_stages.check("stars", {"_stars2": [path]})
    monkeypatch.setenv("VISQL_RENEW", "1")
    numbers_of_stages.check("stars", {"_stars2": [path]})
    numbers_of_stages.check("stars", {"_stars2": [path]})
    write_table(path, columns | {"FLUX_AUTO": np.array([1, 2, 3, 4, 5.001])}, STARS)
    with pytest.raises(AssertionError, match=r"raise its version .* `stage stars 2`[^\0]*_stars2: FLUX_AUTO"):
        numbers_of_stages.check("stars", {"_stars2": [path]})
    monkeypatch.setitem(VERSIONS, "stars", 2)
    numbers_of_stages.check("stars", {"_stars2": [path]})
    monkeypatch.delenv("VISQL_RENEW")
    numbers_of_stages.check("stars", {"_stars2": [path]})


def test_a_fits_file_of_another_program_has_its_record_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "E.wcs"
    fits.PrimaryHDU().writeto(path)
    with pytest.raises(NoRecordError):
        read_record(path)
    write_sidecar(path, {"plate": 1})
    assert read_record(path)["stages"] == {"plate": 1}
    assert read_record(path)["checksum"] == actual_checksum(path)


def test_a_fits_image_holds_its_record(tmp_path: Path) -> None:
    path = tmp_path / "m.fits"
    write_image(path, Image(np.arange(6.0).reshape(2, 3)), {"arith": 1})
    assert read_record(path)["stages"] == {"arith": 1}
    assert read_record(path)["checksum"] == actual_checksum(path)
    content = bytearray(path.read_bytes())
    content[2880 + 7] ^= 1  # a pixel
    path.write_bytes(content)
    assert read_record(path)["checksum"] != actual_checksum(path)
