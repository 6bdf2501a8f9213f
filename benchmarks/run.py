"""What VISQL costs and how far it agrees with SExtractor, beside the goals of issue 3.

    python benchmarks/run.py [--runs 3] [--only exposure,parity,scaling,month] [--ccds 3-3,3-4]
                             [--raw FRAME] [--sep] [--out benchmarks/results]

Every step runs in a process of its own; CPU, wall and peak memory are what the
operating system says of it; medians of the runs are written with machine and
versions to DATE.json and DATE.md, or DATE_PARTS where parts are left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sextractor
from common import ROOT, machine
from exposure import bench_exposure
from month import bench_month
from report import page
from scaling import bench_scaling

PARTS = ("exposure", "parity", "scaling", "month")


def bench_parity(folder: Path) -> dict[str, Any]:
    """Compare with SExtractor, in a process of its own: this one must stay small (see `measured`)."""
    script, path = ROOT / "benchmarks" / "parity.py", folder / "parity.json"
    subprocess.run([sys.executable, script, "--json", path], check=True, stdout=subprocess.DEVNULL)
    return json.loads(path.read_text())


def measure(part: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one part."""
    folder.mkdir()
    raw = options.raw.resolve() if options.raw else None
    if part == "exposure":
        return bench_exposure(folder, options.runs, options.ccds, raw, options.sep)
    if part == "parity":
        return bench_parity(folder)
    if part == "scaling":
        return bench_scaling(folder, options.runs, options.ccds, raw)
    return bench_month(folder, options.runs)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas; default: all")
    parser.add_argument("--ccds", default="", help="CCDs of exposure and scaling; default: all")
    parser.add_argument("--raw", type=Path, help="take this frame for exposure and scaling")
    parser.add_argument("--sep", action="store_true", help="measure the exposure with engine sep, too, once")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := sorted(set(options.only) - set(PARTS)):
        parser.error(f"--only: no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if sextractor.program() is None and "parity" in options.only:
        print("SExtractor is not installed (Debian: source-extractor): parity is left out", file=sys.stderr)
        options.only.remove("parity")
    return options


def main() -> None:
    """Measure and write."""
    options = parsed()
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    facts = machine() | {"SExtractor": sextractor.version()}
    result: dict[str, Any] = {"date": date, "runs": options.runs, "machine": facts}
    with tempfile.TemporaryDirectory() as name:
        for part in PARTS:
            if part in options.only:
                print(f"measuring: {part}", file=sys.stderr)
                result[part] = measure(part, Path(name) / part, options)
    options.out.mkdir(parents=True, exist_ok=True)
    stem = date if set(options.only) == set(PARTS) else f"{date}_{'_'.join(options.only)}"
    (options.out / f"{stem}.json").write_text(json.dumps(result, indent=1) + "\n")
    (options.out / f"{stem}.md").write_text(page(result))
    print(page(result))


if __name__ == "__main__":
    main()
