"""The numbers every stage gives on the toy camera's month, kept with the stage's version.

Compared are count, median, mean and rms of every column, with room for the last digits of
another processor, not for another algorithm.
"""

import os
from pathlib import Path

import numpy as np
import yaml

from visql_lib.pipelines.vis.registry import VERSIONS
from visql_lib.simulate.plan import VERSION
from visql_lib.tables import read_table

KEPT = Path(__file__).parent / "baseline" / "numbers.yaml"
RELATIVE = 2e-5  # of the rms of a column
ROUNDING = 1e-12  # rms of what should be zeros
RENEW = "VISQL_RENEW"


def numbers_of(paths):
    """Return what is compared of the tables of one kind, put together."""
    tables = [read_table(path) for path in paths]
    found = {"rows": sum(table.n_rows for table in tables)}
    for name in tables[0]:
        column = np.concatenate([np.asarray(table[name]).ravel() for table in tables])
        if column.dtype.kind not in "fiub":
            found[name] = [len(np.unique(column.astype(str)))]
            continue
        column = column.astype(float)
        column = column[np.isfinite(column)]
        rms = float(np.sqrt(np.mean(column**2))) if len(column) else 0.0
        values = (np.median(column), np.mean(column), rms) if len(column) else ()
        found[name] = [len(column), *(float(f"{v:.7g}") for v in values)]
    return found


def differences(old, new):
    """Yield the columns whose numbers differ."""
    for name in sorted(old.keys() | new.keys()):
        a, b = np.atleast_1d(old.get(name, [])), np.atleast_1d(new.get(name, []))
        if len(a) == len(b) > 1 and a[0] == b[0] and max(a[-1], b[-1]) < ROUNDING:
            continue
        if len(a) != len(b) or a[0] != b[0] or np.any(np.abs(a - b) > RELATIVE * np.abs(a[-1])):
            yield f"{name}: {b.tolist()}, was {a.tolist()}"


def check(stage, tables):
    """Compare the numbers of a stage, file's ending to its tables, with those kept for its version.

    With the variable VISQL_RENEW set, those of a raised stage are written.
    """
    kept = yaml.safe_load(KEPT.read_text()) if KEPT.is_file() else {}
    made_by = {"stage": VERSIONS[stage], "simulator": VERSION}
    known = kept.get(stage, {"by": {}, "numbers": {}})
    found = {ending: numbers_of(paths) for ending, paths in sorted(tables.items())}
    if known["by"] != made_by:
        if os.environ.get(RENEW):
            kept[stage] = {"by": made_by, "numbers": found}
            KEPT.write_text(yaml.safe_dump(kept, default_flow_style=None, width=110))
            return
        raise AssertionError(
            f"stage {stage}: numbers are kept for {known['by']}, they are of {made_by} now: run again"
            f" with {RENEW}=1 to renew {KEPT.name}"
        )
    wrong = [
        f"{ending}: {line}"
        for ending in sorted(found.keys() | known["numbers"].keys())
        for line in differences(known["numbers"].get(ending, {}), found.get(ending, {}))
    ]
    if wrong:
        lines = "\n".join(wrong[:20])
        raise AssertionError(
            f"numbers of stage {stage} changed: raise its version in visql_lib/pipelines/vis, note it in"
            f" CHANGELOG.md as `stage {stage} {VERSIONS[stage] + 1}`, then run again with {RENEW}=1 to renew"
            f" {KEPT.name}\n{lines}"
        )


def check_month(results, stages):
    """Compare the numbers of some stages of a finished month July 2024."""
    exposures, months = results / "exposures" / "202407", results / "months" / "202407"
    for stage in stages:
        tables = {}
        for ending in TABLES[stage]:
            of_month = [months / f"{ending}_202407.parquet"]
            of_all = [results / f"{ending}.parquet"]
            paths = sorted(exposures.glob(f"*/*{ending}.parquet")) if ending[0] in "._" else of_month
            tables[ending] = of_all if "/" in ending else paths
            assert tables[ending], ending
        check(stage, tables)


# Stage -> its tables: endings of those of exposures, beginnings of those of months, paths of others.
TABLES = {
    "catalog": (".cat", "_quadrants"),
    "stars": ("_stars2",),
    "moments": ("_stars2_mom", "_stars2_stamps"),
    "quality": ("psfmoments",),
    "gaia_project": ("_stars2_gaia",),
    "gaia_match": ("_frat", "_x_gaia_dxdy", "_stars2_mom_col"),
    "geometry": ("geometry", "astrometry"),
    "ratios": ("ratios", "ratios_ccd"),
    "trend": ("timeline/trend",),
    "month_trend": ("trend",),
    "radiation": ("_radiation", "_radmaps"),
    "angles": ("angles",),
    "month_radiation": ("radiation", "leak"),
    "detector": ("detector", "detector_frames", "hot_pixels"),
}
