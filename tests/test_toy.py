"""A pipeline of another package: sheet, runs, missing products, pages, a limit and an alert, by its own files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits

ROOT = Path(__file__).parents[1]
TOY = ROOT / "tests" / "toy"
NIGHT = "20210227"
STARTS = ("2021-02-27T20:30:00", "2021-02-27T23:30:00", "2021-02-28T03:30:00", "2021-02-28T20:30:00")
_POINTS = """[visql.pipelines]
toy = toy_nights
[visql.commands]
toy-level = toy_nights.commands:level
toy-levels = toy_nights.commands:levels
"""


class Site:
    """A folder with raw frames, settings and an installed pipeline."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.results = folder, folder / "results"
        info = folder / "packages" / "toy_nights-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-nights\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(_POINTS)
        paths = [str(TOY), str(info.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        (folder / "raw").mkdir()
        for i, start in enumerate(STARTS):
            pixels = np.random.default_rng(i).normal(100 + 10 * i, 3, (40, 50)).astype("f4")
            cards = fits.Header({"DATE-OBS": start, "EXPTIME": 10.0, "IMAGETYP": "LIGHT"})
            fits.writeto(folder / "raw" / f"F{i}.fits", pixels, cards)
        limits = {"epochs": [{"from": "2020-01-01", "frame.LEVEL": {"warn_above": 115}}]}
        (folder / "limits.yaml").write_text(yaml.safe_dump(limits))
        values = {"pipeline": "toy", "raw": "raw", "results": "results", "nights": [NIGHT]}
        values |= {"instrument": str(TOY / "camera.yaml"), "limits": "limits.yaml"}
        (folder / "c.yaml").write_text(yaml.safe_dump(values | {"index": {"growing_age": 0}}))

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command in the folder; return what it says."""
        command = [str(Path(sys.executable).with_name(words[0])), *words[1:]]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def visql(self, *words: str, code: int = 0) -> str:
        """Run a step with the settings."""
        return self.run("visql", *words, "--config", "c.yaml", code=code)

    def snakemake(self, *words: str) -> str:
        """Run the workflow with the settings."""
        return self.run("snakemake", "-s", str(ROOT / "Snakefile"), "--configfile", "c.yaml", "-c2", *words)


def jobs(text: str) -> dict[str, int]:
    """Read the number of jobs by rule in what a dry-run says."""
    lines = text.partition("Job stats:\n")[2].splitlines()[2:]
    found = {}
    for line in lines:
        if not line.strip():
            break
        name, n = line.split()
        found[name] = int(n)
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A night that was planned, made and shown."""
    found = Site(tmp_path_factory.mktemp("toy"))
    assert jobs(found.snakemake("-n")) == {"toy_level": 3, "toy_levels": 1, "qc": 1, "night": 1, "total": 6}
    found.snakemake("night", "site", "alerts")
    return found


def test_it_is_small() -> None:
    files = [path for path in TOY.rglob("*") if path.suffix in (".py", ".smk", ".yaml")]
    lines = [line for path in files for line in path.read_text().splitlines()]
    assert len(lines) < 150


def test_its_sheet_groups_by_night(site: Site) -> None:
    said = site.visql("index")
    assert "results/nights/20210227.tsv: 3 SCIENCE ok" in said
    head, *rows = (site.results / f"nights/{NIGHT}.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in rows] == ["F0", "F1", "F2"]
    assert head.startswith("exposure\tfile\t")


def test_products_are_where_its_registry_says(site: Site) -> None:
    made = {path.relative_to(site.results / "nights" / NIGHT).as_posix() for path in _files(site)}
    frames = {f"frames/F{i}_{end}" for i in range(3) for end in ("level.parquet", "histogram.png")}
    assert made == {*frames, "levels.parquet", "qc.parquet"}


def _files(site: Site) -> list[Path]:
    found = (site.results / "nights" / NIGHT).rglob("*")
    return [path for path in found if path.is_file() and not path.name.startswith(".")]


def test_a_second_run_has_nothing_to_do(site: Site) -> None:
    assert "Nothing to be done" in site.snakemake()
    assert "8 products of 20210227, all well" in site.visql("verify", NIGHT)


def test_a_missing_product_is_named_and_made_again(site: Site) -> None:
    lost = site.results / "nights" / NIGHT / "frames" / "F1_histogram.png"
    before = lost.read_bytes()
    lost.unlink()
    said = site.visql("verify", NIGHT, code=1)
    assert f"missing  nights/{NIGHT}/frames/F1_histogram.png" in said
    said = site.snakemake()
    assert jobs(said)["toy_level"] == 1
    assert lost.is_file()
    assert len(lost.read_bytes()) == pytest.approx(len(before), rel=0.1)


def test_a_changed_setting_makes_again_what_depends_on_it(site: Site) -> None:
    again = jobs(site.snakemake("-n", "--config", "pictures={dpi: 77}"))
    assert again == {"toy_level": 3, "toy_levels": 1, "qc": 1, "night": 1, "total": 6}


def test_a_table_has_its_provenance(site: Site) -> None:
    said = site.run("visql", "provenance", f"results/nights/{NIGHT}/frames/F2_level.parquet")
    assert "stage toy_level 1" in said
    assert "F2.fits" in said
    assert "pictures.dpi: 100" in said


def test_a_value_beyond_its_limit_is_an_alert(site: Site) -> None:
    (alert,) = json.loads((site.results / "site/alerts.json").read_text())["alerts"]
    assert (alert["metric"], alert["status"], alert["side"]) == ("frame.LEVEL", "warn", "above")
    assert alert["value"] == pytest.approx(120, abs=1)
    assert alert["threshold"] == 115
    assert alert["nights"] == [NIGHT]
    assert [(e["name"], e["night"]) for e in alert["exposures"]] == [("F2", NIGHT)]
    assert "warn: Level: level 1" in (site.results / "site/feed.xml").read_text()


def test_its_pages_show_table_picture_and_limit(site: Site) -> None:
    night = (site.results / f"site/nights/{NIGHT}.html").read_text()
    assert "<h1>2021-02-27</h1>" in night
    assert "levels.parquet" in night
    assert "frames/" not in night  # they are on the pages of their frames
    page = (site.results / f"site/exposures/{NIGHT}/F2.html").read_text()
    assert "F2_histogram.png" in page
    assert "F2_level.parquet" in page
    assert "warning &gt; 115" in page
    assert "visql toy-level raw/F2.fits -o" in page
    front = (site.results / "site/index.html").read_text()
    assert "<h2>Nights</h2>" in front
    assert "trends.html" not in front


def test_its_results_are_not_those_of_another_pipeline(site: Site) -> None:
    words = ("-n", "--config", "pipeline=vis", "results=results", "raw=raw", "months=202102")
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), *words]
    done = subprocess.run(command, cwd=site.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "holds products of the pipeline 'toy'" in done.stdout + done.stderr


def test_its_commands_are_listed_and_those_of_vis_refuse_its_settings(site: Site) -> None:
    assert "toy-levels" in site.run("visql", "--help")
    said = site.visql("quality", f"results/nights/{NIGHT}.tsv", "-o", "x.parquet", code=2)
    assert "this is a command of 'vis', not of 'toy'" in said
