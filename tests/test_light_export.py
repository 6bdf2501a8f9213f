"""Light curves by frame and night from the tables of a set, and what is exported of a target."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from visql_lib.cli import cli
from visql_lib.pipelines.lightcurves import schemas
from visql_lib.pipelines.lightcurves.decisions import Decision, from_meta, to_meta
from visql_lib.tables import read_meta, read_table, write_table
from visql_lib.tables.rdb import read_rdb
from visql_lib.tables.schema import TableSchema

NIGHTS, PER_NIGHT = 6, 4
NAMES = [f"f{i:02d}" for i in range(NIGHTS * PER_NIGHT)]
TRUE = {"A": 60000.0, "B": 30000.0}
CAMERA = """
name: ecam_test
header: {date: DATE-OBS, exptime: EXPTIME, type: [[OBSTYPE]]}
amplifiers: sections
frame_types: [{type: SCIENCE, at_most: 1.0e+9}]
"""
TARGET = """
name: J1206
ra: 181.6
dec: 43.3
sets: {R_ecam: {camera: CAMERA, raw: RAW, filter: R}}
point_sources: {A: {x: 100, y: 100}, B: {x: 110, y: 100}}
"""


def write(folder: Path, kind: str, schema: TableSchema, rows: list[dict], meta: dict | None = None) -> Path:
    """Write a table of the set."""
    path = folder / f"{kind}_R_ecam.parquet"
    write_table(path, schema.of_rows(rows), schema, stage=f"lc_{kind}", stage_version=1, meta=meta)
    return path


def make_set(folder: Path, **change: object) -> Path:
    """Write the tables of a set of two sources: 6 nights of 4 frames; frame 5 has a cloud, 9 a negative B."""
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True)
    time = np.array([56000.2 + 3 * (i // PER_NIGHT) + 0.01 * (i % PER_NIGHT) for i in range(len(NAMES))])
    air = rng.uniform(0.8, 1.0, len(NAMES))
    air[5] = 0.05
    frames = [
        {
            "FRAME": name,
            "NIGHT": f"201203{13 + 3 * (i // PER_NIGHT):02d}",
            "STATUS": "kicked" if i == 2 else "ok",
            "REASON": "plane" if i == 2 else "",
            "MJD": time[i],
            "MHJD": time[i] + 0.003,
            "BJD_TDB": 2400000.5 + time[i] + 0.0038,
            "SKY": 700.0 + i,
            "SEEING": 1.1,
            "SEEING_PX": 5.0,
            "ELLIPTICITY": 0.03,
            "AIRMASS": 1.2,
        }
        for i, name in enumerate(NAMES)
    ]
    scene = []
    for i, name in enumerate(NAMES):
        for k, (source, flux) in enumerate(TRUE.items()):
            value = flux * air[i] + rng.normal(0, 100)
            if (i, source) == (9, "B"):
                value = -50.0
            covariance = np.array([1e4, -4e3]) if k == 0 else np.array([-4e3, 1e4])
            scene.append(
                {
                    "FRAME": name,
                    "SOURCE": source,
                    "FLUX": value,
                    "ERR": 100.0,
                    "ERR_COMMON": 30.0,
                    "COVARIANCE": covariance,
                    "COVARIANCE_COMMON": covariance * 0.09,
                    "CHI2": 1.0,
                }
            )
    write(folder, "frames", schemas.FRAMES, frames)
    write(folder, "transforms", schemas.TRANSFORMS, [{"FRAME": n, "STATUS": "ok"} for n in NAMES])
    write(
        folder,
        "medcoeff",
        schemas.MEDCOEFF,
        [{"FRAME": n, "MEDCOEFF": 1 / a} for n, a in zip(NAMES, air, strict=True)],
    )
    renorm = [{"FRAME": n, "C": 1 / a, "C_ERR": 0.001, "N": 6} for n, a in zip(NAMES, air, strict=True)]
    renorm[11]["C"] = np.nan
    said = [Decision("star c", "R_ecam", "lc_renorm", False, "scatter 9 mmag", 9.0, 3.0)]
    write(folder, "renorm", schemas.RENORM, renorm, to_meta(said))
    write(folder, "target", schemas.SCENE, scene, {"sources": ["A", "B"]})
    write(
        folder,
        "stars",
        schemas.STARS,
        [{"STAR": "a", "PSF": True, "NORM": True}, {"STAR": "c", "REASON": "peak"}],
    )
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a target with one set, nights and exported curves."""
    top = tmp_path_factory.mktemp("curves")
    folder = make_set(top / "J1206" / "R_ecam")
    (top / "camera.yaml").write_text(CAMERA)
    (top / "raw").mkdir()
    text = TARGET.replace("CAMERA", str(top / "camera.yaml")).replace("RAW", str(top / "raw"))
    (top / "J1206.yaml").write_text(text)
    (top / "config.yaml").write_text("pipeline: lightcurves\nexport: {zero_point: 30, sums: {AB: [A, B]}}\n")
    nights = [
        "lc-nights",
        *(
            str(folder / f"{k}_R_ecam.parquet")
            for k in ("frames", "transforms", "medcoeff", "renorm", "target")
        ),
    ]
    nights += ["-o", str(folder / "fluxes_R_ecam.parquet"), "--nights", str(folder / "nights_R_ecam.parquet")]
    export = [
        "lc-export",
        str(folder),
        "-o",
        str(folder.parent / "J1206.parquet"),
        "--target",
        str(top / "J1206.yaml"),
    ]
    for words in (nights, export):
        result = CliRunner().invoke(
            cli, [*words, "--config", str(top / "config.yaml")], catch_exceptions=False
        )
        assert result.exit_code == 0, result.output
    return folder.parent


def test_frames_that_do_not_count_are_told_with_value_and_limit(made: Path) -> None:
    """The cloud is beyond the limit of coefficients, B's negative flux and the lost coefficient have reasons."""
    table = read_table(made / "R_ecam" / "fluxes_R_ecam.parquet")
    assert "f02" not in table["FRAME"]  # kicked: in no product
    why = {(f, s): r for f, s, r in zip(table["FRAME"], table["SOURCE"], table["REASON"], strict=True) if r}
    assert {frame for frame, _ in why} == {"f05", "f09", "f11"}
    assert why["f05", "A"] == "sky x coefficient 1.41e+04 above 1e+04 e-"
    assert why["f09", "B"] == "flux of B is not positive"
    assert ("f09", "A") not in why
    assert "no coefficient" in why["f11", "A"]
    assert np.isnan(table["MAG"][(table["FRAME"] == "f09") & (table["SOURCE"] == "B")]).all()
    told = {d.frame: d for d in from_meta(read_meta(made / "R_ecam" / "fluxes_R_ecam.parquet"))}
    assert (told["f05"].limit, told["f05"].value) == (10000.0, pytest.approx(14100.0))
    assert told["f05"].by == "auto"


def test_magnitudes_are_those_of_flux_times_coefficient(made: Path) -> None:
    """Zero point 30: A is 30 - 2.5 log10 60000, whatever the air let through; errors hold flux and coefficient."""
    table = read_table(made / "R_ecam" / "fluxes_R_ecam.parquet")
    a = (table["SOURCE"] == "A") & table["KEPT"]
    assert np.median(table["MAG"][a]) == pytest.approx(30 - 2.5 * np.log10(60000), abs=0.001)
    relative = np.hypot(100 / table["FLUX"][a], 0.001)
    assert table["MAG_ERR"][a] == pytest.approx(2.5 / np.log(10) * relative)


def test_a_sum_has_the_full_covariance(made: Path) -> None:
    """A + B: errors of 100 e- each that are anti-correlated give sqrt(2 x 1e4 - 8e3)."""
    table = read_table(made / "R_ecam" / "fluxes_R_ecam.parquet")
    whole = (table["SOURCE"] == "AB") & (table["FRAME"] == "f00")
    assert table["ERR"][whole] == pytest.approx([12000**0.5])
    assert table["ERR_COMMON"][whole] == pytest.approx([(0.09 * 12000) ** 0.5])
    parts = [table["FLUX"][(table["SOURCE"] == s) & (table["FRAME"] == "f00")][0] for s in "AB"]
    assert table["FLUX"][whole] == pytest.approx([sum(parts)])


def test_nights_hold_what_counts(made: Path) -> None:
    """Six nights of A; one with three frames for the kicked, the cloud, the lost coefficient each."""
    table = read_table(made / "R_ecam" / "nights_R_ecam.parquet")
    a, b = (table["SOURCE"] == source for source in "AB")
    assert list(table["N"][a]) == [3, 3, 3, 4, 4, 4]
    assert list(table["N"][b]) == [3, 3, 2, 4, 4, 4]
    assert list(table["FLAG"][a]) == [True] * 6
    assert list(table["FLAG"][b]) == [True, True, False, True, True, True]
    assert table["MAG"][a] == pytest.approx(30 - 2.5 * np.log10(60000), abs=0.006)
    assert np.isfinite(table["MAG_ERR"]).all()


def test_what_is_exported(made: Path) -> None:
    """.rdb, ECSV and Parquet of all sets and of each, decisions and README."""
    names = {path.name for path in made.iterdir() if path.is_file() and not path.name.startswith(".")}
    assert names == {
        *(f"J1206{part}.{end}" for part in ("", "_R_ecam") for end in ("rdb", "ecsv")),
        *("J1206.parquet", "decisions.parquet", "README.md"),
    }
    found = read_rdb(made / "J1206.rdb")
    assert found.sources == ("A", "B", "AB")
    assert len(found) == 6
    assert np.isfinite(np.concatenate([found.magnitude(s) for s in found.sources])).all()
    assert set(found.columns["telescope"]) == {"ecam_test"}
    from astropy.table import Table

    table = Table.read(made / "J1206.ecsv")
    assert table["bjd_tdb"].unit == "d"
    assert table["mag_A"] == pytest.approx(found.magnitude("A"))
    assert read_table(made / "J1206.parquet")["mag_A"] == pytest.approx(found.magnitude("A"))


def test_decisions_gather_what_all_stages_decided(made: Path) -> None:
    """Of frames and stars; the user's list is told as the user's."""
    table = read_table(made / "decisions.parquet")
    rows = {
        (f, s): (r, b)
        for f, s, r, b in zip(*(table[n] for n in ("FRAME", "STAGE", "REASON", "BY")), strict=True)
    }
    assert rows["f02", "lc_frames"] == ("kicked: plane", "user")
    assert rows["star c", "lc_renorm"] == ("scatter 9 mmag", "auto")
    assert ("f05", "lc_nights") in rows
    assert not table["KEPT"].any()


def test_the_readme_tells_the_reduction(made: Path) -> None:
    """Frames, span, stars, limits, reasons."""
    text = (made / "README.md").read_text()
    for said in (
        "21 of 24 frames are in the curve, in 6 nights",
        "2012-03-14 to 2012-03-29",
        "a: PSF and normalisation; c: not used: peak",
        "coefficient 8",
        "- 1 frame: flux of B is not positive",
        "- 1 frame: sky x coefficient beyond its limit",
        "f02 (R_ecam): kicked: plane",
    ):
        assert said in text


def test_sets_are_tied_by_a_star_of_one_flux_in_all(made: Path, tmp_path: Path) -> None:
    """A second set whose frames hold half the light: its magnitudes are those of the first set."""
    top = tmp_path / "J1206"
    shutil.copytree(made / "R_ecam", top / "R_ecam")
    shutil.copytree(made / "R_ecam", top / "R_two")
    for path in list((top / "R_two").iterdir()):
        path.rename(path.with_name(path.name.replace("R_ecam", "R_two")))
    nights = read_table(top / "R_two" / "nights_R_two.parquet")
    dark = dict(nights) | {"MAG": nights["MAG"] + 2.5 * np.log10(2), "MHJD": nights["MHJD"] + 1}
    write_table(
        top / "R_two" / "nights_R_two.parquet", dark, schemas.NIGHTS, stage="lc_nights", stage_version=1
    )
    target = yaml.safe_load((made.parent / "J1206.yaml").read_text())
    target["sets"]["R_two"] = target["sets"]["R_ecam"]
    (tmp_path / "J1206.yaml").write_text(yaml.safe_dump(target))

    def exported(levels: dict[str, dict[str, float]]) -> dict[str, float]:
        for name, level in levels.items():
            path = top / name / f"renorm_{name}.parquet"
            table = read_table(path)
            kicked = Decision(
                "f02", name, "lc_frame", False, "kicked: plane", by="user"
            )  # as STATUS says, too
            meta = {"levels": level, **to_meta([kicked])}
            write_table(path, dict(table), schemas.RENORM, stage="lc_renorm", stage_version=1, meta=meta)
        words = ["lc-export", *(str(top / name) for name in levels), "-o", str(top / "J1206.parquet")]
        result = CliRunner().invoke(
            cli,
            [
                *words,
                *("--target", str(tmp_path / "J1206.yaml"), "--config", str(made.parent / "config.yaml")),
            ],
        )
        assert result.exit_code == 0, result.output
        table = read_rdb(top / "J1206.rdb")
        names = table.columns["setname"]
        return {name: float(np.median(table.magnitude("A")[names == name])) for name in levels}

    found = exported({"R_ecam": {"a": 9e4, "b": 4e4}, "R_two": {"b": 2e4}})
    assert found["R_two"] == pytest.approx(found["R_ecam"], abs=1e-6)
    assert found["R_ecam"] == pytest.approx(30 - 2.5 * np.log10(60000), abs=0.003)  # the first is as it was
    alone = read_rdb(top / "J1206_R_two.rdb")  # on its own scale
    assert np.median(alone.magnitude("A")) == pytest.approx(found["R_two"] + 2.5 * np.log10(2), abs=1e-6)
    assert "star b has one flux in all" in (top / "README.md").read_text()
    table = read_table(top / "decisions.parquet")
    told = {
        s: v for s, v, r in zip(table["SET"], table["VALUE"], table["REASON"], strict=True) if "star b" in r
    }
    assert told == {"R_ecam": 0, "R_two": pytest.approx(-2.5 * np.log10(2))}
    assert [s for s, f in zip(table["SET"], table["FRAME"], strict=True) if f == "f02"] == ["R_ecam", "R_two"]
    untied = exported({"R_ecam": {"a": 9e4}, "R_two": {"b": 2e4}})
    assert untied["R_two"] - untied["R_ecam"] == pytest.approx(2.5 * np.log10(2), abs=1e-6)
    reasons = list(read_table(top / "decisions.parquet")["REASON"])
    assert sum("not tied to each other" in reason for reason in reasons) == 1
