"""What a month of many exposures costs around the measuring itself.

    python benchmarks/scale.py [--sizes 200,2000] [--ccds 3-3,3-4] [--out benchmarks/results]

Planning, a run with nothing to do, what is made of a whole month, the site. One frame is
simulated and taken through the workflow; its products, under names and dates of their own,
become those of all exposures: real tables, pictures shared. Then the workflow runs for real.
20,000 exposures are spread over ten months, which are made one after the other and then
looked at together. CPU and wall time and the largest process are
what the operating system says.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from common import ROOT, VISQL, Command, Figures, machine, measured, simulate

GIVEN: Command = ["--snakefile", ROOT / "Snakefile", "--quiet", "rules"]
SNAKEMAKE: Command = [sys.executable, "-m", "snakemake", *GIVEN]
# Marks as done what is there. Snakemake sleeps for each job that it marks, a real job does not; and it
# looks at all jobs that could run before it starts one, where looking at some is enough.
_NO_SLEEP = (
    "from snakemake.cli import main; from snakemake.executors.touch import Executor; "
    "Executor.SLEEPING_TIME = 0; main()"
)
_MANY: Command = ["--cores", "64", "--scheduler-subsample", "64"]
TOUCH: Command = [sys.executable, "-c", _NO_SLEEP, *GIVEN, *_MANY, "--touch", "--forceall"]
# What nothing else of the same exposure is made from; --until leaves out what hangs on what it names.
LAST_OF_EXPOSURE = ("pictures", "gaia_match", "particles", "plate", "pyramid")
A_MONTH = 2000
_BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
_NAMED = re.compile(r"C_\d{8}_\d{6}_W_[0-9A-F]{8}\.VIS\.bin_01_01")


class Template:
    """One exposure with all its products, and the truth that serves as reference stars."""

    def __init__(self, folder: Path, ccds: str) -> None:
        self.raw, _ = simulate(folder, ccds)
        self.name = self.raw.name.removesuffix(".fits")
        self.month = self.name[2:8]
        self.truth = folder / "raw" / "truth"
        self.results = folder / "results"
        config = settings(folder, [self.month], self.raw.parent, self.truth)
        measured([*SNAKEMAKE, "--configfile", config, "--cores", "all", "month", "site"], folder)

    @property
    def products(self) -> Path:
        """The folder of its products."""
        return self.results / "exposures" / self.month / self.name

    @property
    def tiles(self) -> Path:
        """The folder of its tiles."""
        return self.results / "site" / "tiles" / self.month / self.name


def settings(folder: Path, months: list[str], raw: Path, truth: Path, parts: str = "") -> Path:
    """Write the settings of a folder."""
    path = folder / "scale.yaml"
    detectors = "index: {growing_age: 0}\n"
    months_ = ",".join(months)
    path.write_text(
        f"months: '{months_}'\nraw: {raw}\nresults: {folder / 'results'}\n{detectors}"
        f"gaia: {{sources: folder, folder: {truth}}}\ngoes: {{sources: []}}\n"
        + (f"parts: [{parts}]\n" if parts else "")
    )
    return path


def named(n: int, months: int) -> Iterator[tuple[str, str, datetime]]:
    """Yield month, name and time of `n` exposures, spread evenly over some months."""
    each = -(-n // months)
    for i in range(n):
        m, k = divmod(i, each)
        month = (_BEGIN.replace(day=15) + timedelta(days=30.44 * m)).strftime("%Y%m")
        start = datetime.strptime(month, "%Y%m").replace(tzinfo=UTC) + timedelta(days=27.9) * (k / each)
        yield month, f"C_{start:%Y%m%d_%H%M%S}_W_{i:08X}.VIS.bin_01_01", start


def frames(folder: Path, n: int, months: int, template: Path) -> list[str]:
    """Link the raw frames, which are all the same file; return the months they are of."""
    raw = folder / "raw"
    raw.mkdir(parents=True)
    (folder / "results").mkdir()
    made = list(named(n, months))
    for _, name, _ in made:
        os.link(template, raw / f"{name}.fits")
    return sorted({month for month, _, _ in made})


def dated(sheet: Path, starts: dict[str, datetime]) -> None:
    """Give the frames of a sheet the dates of their names: all are links to one file."""
    with sheet.open(newline="") as file:
        lines = csv.DictReader(file, delimiter="\t")
        names, rows = list(lines.fieldnames or ()), list(lines)
    for row in rows:
        start = starts[row["exposure"]]
        row |= {"date_obs": f"{start:%Y-%m-%dT%H:%M:%S}.000", "status": "ok", "reason": ""}
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def place(folder: Path, template: Template, n: int, months: int) -> None:
    """Give every exposure the products of the template."""
    tables = {p: _plain(p) for p in template.products.glob("*.parquet")}
    for month, name, start in named(n, months):
        into = folder / "results" / "exposures" / month / name
        into.mkdir(parents=True, exist_ok=True)
        for path in template.products.iterdir():
            target = into / path.name.replace(template.name, name)
            if path.name.endswith((".cat.parquet", "_stamps.parquet")) or path not in tables:
                target.symlink_to(path)  # a hard link's time would change with that of all others
            else:
                _write(*tables[path], target, template.name, name, start)
        tiles = folder / "results" / "site" / "tiles" / month / name
        shutil.copytree(template.tiles, tiles, copy_function=os.symlink)
    shutil.copytree(template.results / "gaia", folder / "results" / "gaia")


def _plain(path: Path) -> tuple[Any, dict[bytes, bytes]]:
    """Return a table and its record: without, whoever reads it would work out its checksum."""
    import pyarrow.parquet as pq

    from visql_lib.tables.provenance import PARQUET_CHECKSUM, PARQUET_KEY

    texts = pq.read_metadata(path).metadata
    return pq.read_table(path), {name: texts[name] for name in (PARQUET_KEY, PARQUET_CHECKSUM)}


def _write(table: Any, record: dict[bytes, bytes], target: Path, old: str, new: str, start: datetime) -> None:
    import pyarrow.parquet as pq

    meta = dict(table.schema.metadata)
    for key, value in meta.items():
        meta[key] = re.sub(
            rb'"date_obs": "[^"]*"', f'"date_obs": "{start:%Y-%m-%dT%H:%M:%S}.000"'.encode(), value
        )
        meta[key] = meta[key].replace(old.encode(), new.encode())
    table = table.replace_schema_metadata(meta)
    with pq.ParquetWriter(target, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(record)


class Told(dict[str, Any]):
    """Figures, told as they come: a long measurement may be broken off."""

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        print(f"{name}: {value}", file=sys.stderr, flush=True)


# The jobs of an exposure and how many files each makes: no settings, logs, benchmarks, functions of ours.
_BARE = {
    "catalog": (["raw/{e}.fits"], 14),
    "stars": (["{e}/catalog0"], 1),
    "moments": (["raw/{e}.fits", "{e}/stars0"], 2),
    "pictures": (["{e}/catalog0", "{e}/stars0", "{e}/moments0"], 7),
    "gaia_match": (["{e}/catalog0", "{e}/stars0"], 7),
    "particles": (["{e}/catalog0"], 5),
    "plate": (["{e}/catalog1"], 1),
}


def bare(folder: Path, n: int) -> Figures:
    """Measure what Snakemake takes to plan as many jobs with as many files, whatever they do."""
    (folder / "raw").mkdir(parents=True)
    for number in range(n):
        (folder / "raw" / f"{number}.fits").touch()
    ends = [f"{name}0" for name in ("pictures", "gaia_match", "particles", "plate")]
    rules = [f"rule all:\n    input: expand('{{e}}/{{x}}', e=range({n}), x={ends})"]
    for name, (inputs, n_files) in _BARE.items():
        outputs = [f"{{e}}/{name}{i}" for i in range(n_files)]
        command = f"visql {name} {{input}} -o {{output[0]}}"
        rules.append(f"rule {name}:\n    input: {inputs}\n    output: {outputs}\n    shell: '{command}'")
    (folder / "Snakefile").write_text("\n\n".join(rules) + "\n")
    return measured([sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "rules"], folder)


def bench_scale(folder: Path, template: Template, n: int, parts: str) -> dict[str, Any]:
    """Measure a month (or several) of `n` exposures."""
    months = -(-n // A_MONTH)
    folder.mkdir(parents=True)
    names = frames(folder, n, months, template.raw)
    config = settings(folder, names, folder / "raw", template.truth, parts)
    run: Command = [*SNAKEMAKE, "--configfile", config]
    found = Told({"exposures": n, "months": len(names)})
    found["index, new frames"] = measured([*VISQL, "index", "--config", config], folder)
    starts = {name: start for _, name, start in named(n, months)}
    for month in names:
        dated(folder / "results" / "exposures" / f"{month}.tsv", starts)
    found["index, known frames"] = measured([*VISQL, "index", "--config", config], folder)
    found["dry-run of everything"] = measured([*run, "--dry-run"], folder)
    found["jobs"] = _jobs(folder / "said.txt")
    found["of which Snakemake's: bare rules, as many jobs and files"] = bare(folder / "bare", n)
    # In a process of its own: a child's peak is told as no less than its parent's.
    placing = get_context("spawn").Process(target=place, args=(folder, template, n, months))
    placing.start()
    placing.join()
    if placing.exitcode:
        sys.exit("the products could not be placed")
    marking, making = [], []
    for month in names:  # all, before anything is made: to mark a tile of stars again is to change it
        marks: Command = [*TOUCH, "--configfile", config, "--config", f"months={month}"]
        of_exposures: Command = ["--until", *LAST_OF_EXPOSURE, "--", "month", "site"]
        marking.append(measured([*marks, *of_exposures], folder))
    for month in names:  # one after the other, as docs/scaling.md says
        making.append(measured([*run, "--cores", "all", "--config", f"months={month}"], folder))
    found["Snakemake alone: the exposures' jobs, none does anything"] = added(marking)
    found["everything of the month from the exposures' tables"] = added(making)
    found["steps of that"] = steps(folder / "results" / "benchmarks")
    movies = folder / "results" / "movies"
    newest = [max(kept.glob("*.h264")) for kept in movies.glob(f"*/{names[-1]}")]
    found["one month again, as a new exposure makes it"] = again(folder, run, names[-1], newest)
    found["one month again, movies from nothing"] = again(
        folder, run, names[-1], list(movies.rglob("*.h264"))
    )
    if len(names) > 1:
        found["what is made of all months together"] = measured([*run, "--cores", "all"], folder)
    found["run with nothing to do"] = measured([*run, "--cores", "1"], folder)
    if "Nothing to be done" not in (folder / "said.txt").read_text():
        sys.exit(f"there was something to do: {(folder / 'said.txt').read_text()[-2000:]}")
    found["dry-run with nothing to do"] = measured([*run, "--dry-run"], folder)
    found["site from nothing"] = measured([*VISQL, "site", "--config", config], folder)
    found["site again"] = measured([*VISQL, "site", "--config", config], folder)
    return found


def again(folder: Path, run: Command, month: str, days: list[Path]) -> Figures:
    """Measure a month without some days of its movies, all its exposures marked as complete."""
    shutil.rmtree(folder / "results" / "months" / month)
    for day in days:
        day.unlink()
    return measured([*run, "--cores", "all", "--config", f"months={month}"], folder)


def added(parts: list[Figures]) -> Figures:
    """Return the sum of several commands, and the largest peak."""
    peak = max(part["peak_MB"] for part in parts)
    return {name: sum(part[name] for part in parts) for name in parts[0]} | {"peak_MB": peak}


def _jobs(said: Path) -> int:
    totals = re.findall(r"^total\s+(\d+)$", said.read_text(), re.MULTILINE)
    return int(totals[-1]) if totals else 0


def steps(folder: Path) -> dict[str, Figures]:
    """Return what the workflow's own benchmarks say of the steps of months."""
    found: dict[str, Figures] = {}
    for path in sorted(folder.rglob("*.tsv")):
        stage = path.relative_to(folder).parts[0].removesuffix(".tsv")
        if _NAMED.search(path.name) or stage == "gaia_tile":
            continue
        row = next(csv.DictReader(path.open(), delimiter="\t"))
        number = {
            k: float(row[k]) if row[k] not in ("-", "NA") else 0.0 for k in ("s", "max_rss", "cpu_time")
        }
        known = found.setdefault(stage, {"cpu_s": 0.0, "wall_s": 0.0, "peak_MB": 0.0})
        known["cpu_s"] += number["cpu_time"]
        known["wall_s"] += number["s"]
        known["peak_MB"] = max(known["peak_MB"], number["max_rss"])
    return found


def page(results: list[dict[str, Any]], facts: dict[str, str]) -> str:
    """Return the figures as Markdown."""
    sizes = [r["exposures"] for r in results]
    lines = [f"# Cost of {', '.join(f'{n:,}' for n in sizes)} exposures", ""]
    lines += [f"{key}: {value}  " for key, value in facts.items()]
    lines += [
        "",
        f"| CPU s / wall s / MB | {' | '.join(f'{n:,}' for n in sizes)} |",
        "|---" * (len(sizes) + 1) + "|",
    ]
    lines.append("| jobs | " + " | ".join(format(r["jobs"], ",") for r in results) + " |")
    for key in results[0]:
        if isinstance(results[0][key], dict) and "cpu_s" in results[0][key]:
            lines.append(f"| {key} | {' | '.join(_cell(r[key]) for r in results)} |")
        for step in results[0][key] if key == "steps of that" else ():
            cells = [_cell(r[key].get(step)) for r in results]
            lines.append(f"| of which {step} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(figures: Figures | None) -> str:
    if figures is None:
        return ""
    return f"{figures['cpu_s']:.1f} / {figures['wall_s']:.1f} / {figures['peak_MB']:.0f}"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--sizes", default="200,2000", help="numbers of exposures; 20000 takes two hours, 30 GB"
    )
    parser.add_argument("--ccds", default="", help="CCDs of the frame; default: all")
    parser.add_argument("--parts", default="gaia,radiation,movies,performance", help="of the default target")
    parser.add_argument("--folder", type=Path, help="work here and keep it; default: a temporary folder")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    given = parser.parse_args()
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with tempfile.TemporaryDirectory() as name:
        top = (given.folder or Path(name)).resolve()
        template = Template(top / "template", given.ccds)
        results = []
        for n in map(int, given.sizes.split(",")):
            print(f"measuring {n} exposures", file=sys.stderr)
            results.append(bench_scale(top / f"n{n}", template, n, given.parts))
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / f"{date}_scale.json").write_text(json.dumps(results, indent=1) + "\n")
    (given.out / f"{date}_scale.md").write_text(page(results, {"date": date, **machine()}))
    print(page(results, {"date": date}))


if __name__ == "__main__":
    main()
