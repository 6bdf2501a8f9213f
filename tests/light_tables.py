"""Tables and small files of a target, as the stages of the light curves leave them; the truth is known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import yaml

from visql_lib.pipelines.lightcurves.decisions import Decision, to_meta
from visql_lib.pipelines.lightcurves.grouping import SETS
from visql_lib.pipelines.lightcurves.schemas import (
    DECISIONS,
    FLUXES,
    FRAMES,
    MEDCOEFF,
    NIGHTS,
    PSF,
    RENORM,
    SCENE,
    STAR_FLUXES,
    STARS,
    TRANSFORMS,
)
from visql_lib.sheets.sheet import empty_row, write_sheet
from visql_lib.tables import write_table

TARGET = "J1206"
SOURCES = ("A", "B", "C", "D")
MAGS = dict(zip(SOURCES, (18.0, 18.4, 18.9, 19.5), strict=True))
STAR_NAMES = tuple("abcdefgh")
START = 57800.1  # MJD of the first frame
FAULTS = {  # frame of the set -> STATUS and REASON
    2: ("kicked", "satellite"),
    9: ("left_out", "the same frame as f010"),
    14: ("failed", "f014.fits: is cut short"),
    17: ("no_stars", "no star above 5 sigma"),
    20: ("not_aligned", "2 stars matched, 6 are needed"),
    23: ("no_psf", "2 of 3 PSF stars"),
}
NOT_FLAGGED = 0
COSMIC = 16


def default(column):
    nothing = {"str": "", "time": "NaT", "bool": False}.get(column.dtype, np.nan)
    nothing = 0 if column.dtype.startswith("int") else nothing
    if column.size:
        return [nothing] * (len(SOURCES) if column.size < 0 else column.size)
    return nothing


def write(path, schema, rows, meta=None):
    """Write a table; columns that a row does not name are not known."""
    columns = {c.name: c.cast([row.get(c.name, default(c)) for row in rows]) for c in schema.columns}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(path, columns, schema, meta=meta or {})


class LightSet:
    """The tables of a set: nights of frames with known magnitudes, some of them left out.

    Star ``c`` dips by 5 % in one night and is dropped; every thirteenth value of the stars is flagged.
    """

    def __init__(
        self, results, name="R_ecam", nights=12, per_night=4, gap=3.0, start=START, seed=1, sources=SOURCES
    ):
        self.results, self.name, self.rng = results, name, np.random.default_rng(seed)
        self.group, self.sources = f"{TARGET}/{name}", sources
        self.folder = SETS.group_folder(results, self.group)
        n = nights * per_night
        self.n, self.night_of = n, np.repeat(np.arange(nights), per_night)
        self.mjd = start + gap * self.night_of + 0.01 * np.tile(np.arange(per_night), nights)
        self.seeing = self.rng.uniform(0.8, 1.6, n)
        self.coeff = self.rng.uniform(0.9, 1.5, n)
        self.sky = self.rng.uniform(200, 900, n)
        self.names = [f"f{i:03d}" for i in range(n)]

    def path(self, kind):
        return SETS.table_path(self.results, self.group, kind)

    def state(self, i):
        return FAULTS.get(i, ("ok", ""))

    def measured(self, *without):
        """The frames that reach a stage: all but those with another status than ok, or one of these."""
        return [i for i in range(self.n) if self.state(i)[0] in ("ok", *without)]

    def magnitude(self, source, i):
        """The true magnitude: a slow wave of 0.2 mag, with another phase for each source."""
        phase = 0.4 * SOURCES.index(source)
        return MAGS[source] + 0.2 * np.sin((self.mjd[i] - START) / 6.0 + phase)

    def flux(self, magnitude, i):
        """Electrons of the frame."""
        return 10 ** (-0.4 * (magnitude - 30.0)) / self.coeff[i]

    def night(self, i):
        day = np.datetime64("1858-11-17") + int(self.mjd[i] - 0.5)
        return str(day).replace("-", "")

    def frames(self):
        rows = []
        for i, name in enumerate(self.names):
            status, reason = self.state(i)
            early = status in ("kicked", "left_out", "failed", "no_stars")
            row = {"FRAME": name, "FILE": f"raw/{name}.fits", "NIGHT": self.night(i)}
            row |= {"STATUS": status if early else "ok", "REASON": reason if early else ""}
            if status != "failed":
                row |= {"MJD": self.mjd[i], "MHJD": self.mjd[i] + 0.003, "EXPTIME": 360.0, "FILTER": "R"}
                row |= {"BJD_TDB": self.mjd[i] + 2400000.504, "GAIN": 2.7, "SKY": self.sky[i]}
                row |= {
                    "RMS": np.sqrt(self.sky[i] + 25),
                    "NX": 512,
                    "NY": 512,
                    "AIRMASS": 1.0 + 0.02 * (i % 20),
                }
                row |= {"MOON_DIST": 80.0, "SUN_ALT": -40.0, "N_SOURCES": 80}
            if status not in ("failed", "no_stars"):
                row |= {"SEEING": self.seeing[i], "SEEING_PX": self.seeing[i] / 0.215, "N_STARS": 40}
                row |= {"ELLIPTICITY": 0.05 + 0.05 * self.rng.random(), "PA": 30.0}
            rows.append(row)
        return rows

    def transforms(self):
        rows = []
        for i in self.measured("not_aligned", "no_psf"):
            status, reason = self.state(i)
            bad = status == "not_aligned"
            row = {"FRAME": self.names[i], "STATUS": status if bad else "ok", "REASON": reason if bad else ""}
            row["MATRIX"] = [np.nan] * 6
            if not bad:
                dx, dy = self.rng.uniform(-30, 30, 2)
                row |= {"MATRIX": [1, 0, dx, 0, 1, dy], "DX": dx, "DY": dy, "MATCHED": 20, "N": 18}
                row |= {"RMS": 0.015 + 0.01 * self.rng.random(), "SCALE": 1.0, "ANGLE": 0.0, "STDDEV": 22.0}
            rows.append(row)
        return rows

    def stars(self):
        rows = []
        for k, star in enumerate(STAR_NAMES):
            row = {
                "STAR": star,
                "X": 100 + 30.0 * k,
                "Y": 400 - 40.0 * k,
                "FLUX": 2e5 / (1 + k),
                "SNR": 400 / (1 + k),
            }
            row |= {"PEAK": 0.3, "INSIDE": 1.0, "NEIGHBOUR": 0.003, "DISTANCE": 60.0 + 20 * k}
            rows.append(
                row | {"PSF": k < 6, "NORM": star != "h", "REASON": "peak above 0.78" if star == "h" else ""}
            )
        return rows

    def star_fluxes(self):
        rows = []
        for i in self.measured():
            for k, star in enumerate(STAR_NAMES):
                full = 2e5 / (1 + k)
                flux = full / self.coeff[i]
                error = float(np.sqrt(flux + 40 * (self.sky[i] + 25)))
                dip = 0.95 if star == "c" and self.night_of[i] == 5 else 1.0
                row = {"FRAME": self.names[i], "PSF_SET": "auto", "STAR": star, "ERR": error, "CHI2": 1.0}
                row["FLUX"] = dip * flux + error * self.rng.normal()
                row["FLAGS"] = COSMIC if (i + k) % 13 == 0 else NOT_FLAGGED
                rows.append(row)
        return rows

    def psf(self):
        rows = []
        for i in self.measured("no_psf"):
            status, reason = self.state(i)
            row = {"FRAME": self.names[i], "PSF_SET": "auto", "STATUS": status, "REASON": reason}
            if status == "ok":
                row |= {"FWHM": self.seeing[i] / 0.215, "E1": 0.02, "E2": -0.01, "BETA": 3.0, "N_STARS": 6}
                row |= {"CHI2": 1.05 + 0.05 * self.rng.normal(), "STARS": "a b c d e f", "PITCH": 1.0}
            rows.append(row)
        return rows

    def fluxes(self):
        rows = []
        for i in self.measured():
            kept = self.seeing[i] < 1.5
            for source in self.sources:
                flux = self.flux(self.magnitude(source, i), i)
                error = float(np.sqrt(flux + 200 * self.sky[i]))
                seen = flux + error * self.rng.normal()
                row = {"FRAME": self.names[i], "SOURCE": source, "NIGHT": self.night(i), "MJD": self.mjd[i]}
                row |= {"MHJD": self.mjd[i] + 0.003, "BJD_TDB": self.mjd[i] + 2400000.504}
                row |= {
                    "FLUX": seen,
                    "ERR": error,
                    "ERR_COMMON": 0.5 * error,
                    "C": self.coeff[i],
                    "C_ERR": 0.001,
                }
                row |= {"MAG": 30 - 2.5 * np.log10(seen * self.coeff[i]), "MAG_ERR": 1.086 * error / seen}
                row |= {"CHI2": 1.02, "KEPT": kept, "REASON": "" if kept else "seeing 1.55 above 1.5"}
                row |= {"SEEING": self.seeing[i], "ELLIPTICITY": 0.07, "AIRMASS": 1.1, "SKY": self.sky[i]}
                rows.append(row)
        return rows

    def nights(self, fluxes):
        rows = []
        for source in self.sources:
            mine = [r for r in fluxes if r["SOURCE"] == source and r["KEPT"]]
            for night in sorted({r["NIGHT"] for r in mine}):
                some = [r for r in mine if r["NIGHT"] == night]
                error = float(np.mean([r["MAG_ERR"] for r in some]) / np.sqrt(len(some)))
                row = {"SOURCE": source, "NIGHT": night, "N": len(some), "FLAG": len(some) >= 3}
                row |= {"MHJD": float(np.mean([r["MHJD"] for r in some])), "COEFF": 1.2, "SKY_LEVEL": 500.0}
                row |= {"MAG": float(np.median([r["MAG"] for r in some])), "FLUX": 1e4}
                row |= {"MAG_ERR": [error * f for f in (1, 1.1, 1.2, 1.15, 0.9, 1.3)], "MEAN_ERR": error}
                row |= {"BJD_TDB": row["MHJD"] + 2400000.501, "MEAN_MAG": row["MAG"] + 0.001}
                rows.append(row | {"SEEING": float(np.median([r["SEEING"] for r in some])), "AIRMASS": 1.1})
        return rows

    def decisions(self):
        rows = [
            {"FRAME": self.names[i], "SET": self.name, "STAGE": "lc_frames", "KEPT": False, "REASON": reason}
            | {"BY": f"{TARGET}_kick.txt" if status == "kicked" else "auto"}
            for i, (status, reason) in FAULTS.items()
            if i < self.n
        ]
        dropped = {
            "FRAME": "c",
            "SET": self.name,
            "STAGE": "lc_renorm",
            "KEPT": False,
            "VALUE": 4.1,
            "LIMIT": 2.5,
        }
        return [
            *rows,
            dropped
            | {
                "REASON": "star c varies: it scatters by 16.3 mmag against the others, 1.4 expected",
                "BY": "auto",
            },
        ]

    def write(self):
        """Write sheet and tables; return the decisions."""
        frames, fluxes, renorm = self.frames(), self.fluxes(), self.measured()
        write(self.path("frames"), FRAMES, frames)
        write(self.path("transforms"), TRANSFORMS, self.transforms())
        write(self.path("stars"), STARS, self.stars())
        write(self.path("starfluxes"), STAR_FLUXES, self.star_fluxes())
        write(self.path("psf"), PSF, self.psf())
        rows = [
            {
                "FRAME": self.names[i],
                "MEDCOEFF": self.coeff[i] * (1 + 0.004 * self.rng.normal()),
                "SIGCOEFF": 0.006,
                "N": 8,
            }
            for i in renorm
        ]
        write(self.path("medcoeff"), MEDCOEFF, rows)
        rows = [
            {"FRAME": self.names[i], "C": self.coeff[i], "C_ERR": 0.001, "N": 7, "PSF_SET": "auto"}
            for i in renorm
        ]
        dropped = [
            Decision(**{k.lower(): v for k, v in d.items()}) for d in self.decisions() if d["FRAME"] == "c"
        ]
        write(self.path("renorm"), RENORM, rows, to_meta(dropped))
        scene = [
            {k: r[k] for k in ("FRAME", "SOURCE", "FLUX", "ERR", "ERR_COMMON", "CHI2")}
            | {"DX": 0.05, "DY": -0.02, "BACKGROUND": 3.0, "COVARIANCE": [0.0] * len(self.sources)}
            for r in fluxes
        ]
        write(self.path("target"), SCENE, scene)
        write(self.path("fluxes"), FLUXES, fluxes)
        write(self.path("nights"), NIGHTS, self.nights(fluxes))
        self.sheet(frames)
        return self.decisions()

    def sheet(self, frames):
        rows = []
        for i, frame in enumerate(frames):
            row = replace(empty_row(frame["FRAME"]), file=frame["FILE"], frame_type="SCIENCE", status="ok")
            date = np.datetime64("1858-11-17") + np.timedelta64(int(self.mjd[i] * 86400), "s")
            rows.append(replace(row, date_obs=f"{date}", exptime=360.0, extra={"FILTER": "R"}))
        path = SETS.sheet_path(self.results, self.group)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_sheet(path, rows)


def write_target(results, *sets):
    """Write the tables of some sets, and the decisions of their target."""
    decisions = [row for one in sets for row in one.write()]
    write(results / f"targets/{TARGET}/decisions.parquet", DECISIONS, decisions)


def write_settings(top, *sets):
    """Write the target's file and the settings of a run; return the settings' path."""
    (top / "raw").mkdir(exist_ok=True)
    told = {one.name: {"camera": "ecam", "raw": str(top / "raw"), "filter": "R"} for one in sets}
    target = {"name": TARGET, "ra": 181.6235, "dec": 43.5385, "sets": told}
    target["point_sources"] = {s: {"x": 200.0 + 6 * k, "y": 200.0} for k, s in enumerate(SOURCES)}
    file = top / f"{TARGET}.yaml"
    file.write_text(yaml.safe_dump(target))
    values = {"pipeline": "lightcurves", "results": str(top / "results"), "targets": [str(file)]}
    (top / "c.yaml").write_text(yaml.safe_dump(values))
    known = top / "results/config/targets.json"  # as the workflow leaves it
    known.parent.mkdir(parents=True, exist_ok=True)
    known.write_text(json.dumps({TARGET: str(file)}))
    return top / "c.yaml"
