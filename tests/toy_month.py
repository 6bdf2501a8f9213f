"""A small month of the toy camera with the real workflow, and what one does with it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from visql_lib.pipelines import make_plan, settings_from_mapping
from visql_lib.products.expected import Expected
from visql_lib.site.steps import missing_products

ROOT = Path(__file__).parents[1]

ALL_JOBS = {
    "catalog": 5,
    "preview": 1,
    "stars": 4,
    "moments": 3,
    "pictures": 3,
    "pictures_flat": 1,
    "image_quality": 1,
    "quality_pictures": 1,
    "month_status": 1,
    "qc": 1,
    "month_complete": 1,
    "last_month": 1,
    "month": 1,
}


class Month:
    """A folder with raw frames of July 2024 and the results of their workflow."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.raw, self.results = folder / "raw", folder / "results"
        self.config = folder / "month.yaml"

    def configure(self, **changes):
        """Write the configuration file."""
        values = {"months": "202407", "raw": "raw", "results": "results", "index": {"growing_age": 0}}
        values |= {"parts": [], "gaia": {"sources": []}}  # others do those parts
        values["instrument"] = str(ROOT / "tests" / "toy_camera.yaml")
        self.config.write_text(yaml.safe_dump(values | changes))

    def run(self, *arguments, cores=2, before=(), path=(), **environment):
        """Run snakemake, by another tool and with folders before those in the path; return exit code, what it said."""
        path = os.pathsep.join([*map(str, path), str(Path(sys.executable).parent), os.environ["PATH"]])
        command = [
            *before,
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            ROOT / "Snakefile",
            "--configfile",
            self.config,
        ]
        done = subprocess.run(
            [*map(str, command), "--cores", str(cores), *map(str, arguments)],
            cwd=self.folder,
            env=os.environ | {"PATH": path, "PYTHONWARNINGS": ""} | environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return done.returncode, done.stdout

    def missing(self, *arguments):
        """Return the jobs a dry-run lists, as rule -> number."""
        code, said = self.run("--dry-run", "--quiet", "rules", *arguments)
        assert code == 0, said
        if "Nothing to be done" in said:
            return {}
        table = said.split("Job stats:")[-1].split("Reasons:")[0]
        jobs = {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table, re.M)}
        assert jobs.pop("total") == sum(jobs.values())
        return jobs

    def exposure(self, stem):
        """Return the folder of an exposure's products."""
        return self.results / "exposures" / "202407" / stem

    def copy(self, folder):
        """Return a copy of all, times kept, to do harm to."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True, symlinks=True)
        return Month(folder)


def stems(month, *types):
    rows = [
        line.split("\t") for line in (month.results / "exposures" / "202407.tsv").read_text().splitlines()
    ]
    return [r[0] for r in rows[1:] if r[2] in types]


def rules_of_workflow():
    text = "".join(path.read_text() for path in (ROOT / "workflow" / "rules").rglob("*.smk"))
    return set(re.findall(r"^rule (\w+):", text, re.M))


def steps(month):
    """Return what the site expects of a month as a whole, and of all months, with absolute paths."""
    values = yaml.safe_load(month.config.read_text()) | {"results": str(month.results)}
    plan = make_plan(settings_from_mapping(values, "test"), refresh=False)
    expected = Expected(plan)
    return [*expected.of_group("202407"), *expected.of_all()]


def check_steps(month, *rules):
    """Check that the site expects of a finished month what its rules made, and finds their logs."""
    found = steps(month)
    assert {step.rule for step in found} == set(rules) <= rules_of_workflow()
    assert missing_products(month.results, (), found) == []
    for step in found:
        assert (month.results / step.log).is_file(), step
        assert all(Path(path).is_file() for path in step.needs), step
    top = month.results / "months" / "202407"
    pictures = {str(path) for path in top.iterdir() if path.suffix in (".png", ".parquet", ".mp4")}
    assert pictures <= {path for step in found for path in step.paths}


def report_of(month):
    """Return what Snakemake's report of a finished month shows: name -> category, labels, caption."""
    path = month.folder / "report.html"
    code, said = month.run("month", "--report", path)
    assert code == 0, said
    page = path.read_text(encoding="utf-8")
    categories, results = (
        json.JSONDecoder().raw_decode(page, page.index(f"var {name} = {{") + len(f"var {name} = "))[0]
        for name in ("categories", "results")
    )
    of_file = {file: name for name, parts in categories.items() for part in parts.values() for file in part}
    return {Path(file).name: (of_file[file], r["labels"], r["caption"]) for file, r in results.items()}


def verified(month, *options):
    """Return what `visql verify` finds, as (kind, product, reason)."""
    command = [sys.executable, "-c", "import sys; from visql_lib.cli import main; sys.exit(main())"]
    command += ["verify", "202407", "--json", "--config", str(month.config), *options]
    done = subprocess.run(command, cwd=month.folder, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    found = json.loads(done.stdout)
    assert done.returncode == int(bool(found["findings"]))
    assert found["products"] > 80
    return [tuple(f.values()) for f in found["findings"]]


def make_month(folder, raw):
    """Run the frames of a folder through once."""
    made = Month(folder)
    shutil.copytree(raw, made.raw)
    made.configure()
    assert made.missing() == ALL_JOBS
    code, said = made.run("--quiet", "rules")
    assert code == 0, said
