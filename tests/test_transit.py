"""A real night: frames of the star TrES-1 through both pipelines, raw frames to the transit of its planet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from astropy.io import fits
from scipy.optimize import least_squares

from visql_lib.tables import read_meta, read_table

pytestmark = pytest.mark.heavy  # 100 s of one core: 53 frames, two runs of Snakemake

ROOT = Path(__file__).resolve().parent.parent
FRAMES = 53
MIDDLE = 2456095.67678  # BJD of the transit by its published ephemeris: 2453186.80603 + 960 x 3.0300737
REDUCTION = """
pipeline: reduction
raw: raw
results: reduced
nights: auto
instrument: generic_ccd
reduce: {allow_missing: [bias, flat]}
index: {growing_age: 0 s}
"""
CURVES = """
pipeline: lightcurves
targets: [targets/TrES-1.yaml]
results: curves
index: {growing_age: 0 s}
"""
SITE = """
site:
  longitude: {value: -76.96, unit: deg, source: a map}
  latitude: {value: 39.0, unit: deg, source: a map}
  height: {value: 50, unit: m, source: a map}
"""
TARGET = """
name: TrES-1
ra: "19:04:09.85"
dec: "+36:37:57.5"
sets:
  st10: {camera: st10.yaml, raw: reduced/nights/20120616/frames}
on: tres1-020
point_sources:
  A: {x: 341.6, y: 276.0}
galaxy: {image: false, core: none}
"""


class Transit(NamedTuple):
    """A trapezoid fitted to a light curve."""

    middle: float  # BJD
    hours: float  # from first to last contact
    depth: float
    residual: float  # mag, rms
    point_to_point: float  # mag, of the residuals, / sqrt 2


def snakemake(folder: Path, target: str, config: str) -> None:
    """Make a target of the workflow."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", target, "--cores", "2"]
    done = subprocess.run(
        [*command, "--configfile", folder / config, "--quiet", "rules"],
        cwd=folder,
        env=os.environ | {"PATH": path, "PYTHONWARNINGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def fit(time: np.ndarray, mag: np.ndarray) -> Transit:
    """Fit a trapezoid, from several first guesses of its middle."""

    def model(p: np.ndarray) -> np.ndarray:
        middle, whole, partial, depth, level = p[0], p[1] / 24, p[2] / 24, p[3], p[4]
        inside = np.clip((whole / 2 - np.abs(time - middle)) / partial, 0, 1)
        return level - 2.5 * np.log10(1 - depth * inside)

    level = float(np.median(mag))
    low, high = [time.min(), 1.2, 0.12, 0, level - 1], [time.max(), 4.8, 1.2, 0.1, level + 1]
    fits = [
        least_squares(
            lambda p: mag - model(p),
            [middle, 2.5, 0.36, 0.02, level],
            bounds=(low, high),
            x_scale=[0.003, 0.1, 0.1, 0.001, 0.001],
        )
        for middle in np.linspace(time.min() + 0.06, time.max() - 0.06, 15)
    ]
    best = min(fits, key=lambda found: found.cost)
    off = mag - model(best.x)
    return Transit(best.x[0], best.x[1], best.x[3], float(off.std()), float(np.diff(off).std() / np.sqrt(2)))


@pytest.fixture(scope="module")
def made(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reduce the frames with their dark, make the light curve; return the folder of the target's set."""
    source = reference / "lightcurves" / "oscaar_tres1"
    if not source.is_dir():
        pytest.skip(f"no real frames of a transit: {source} is absent")
    folder = tmp_path_factory.mktemp("transit")
    (folder / "raw").mkdir()
    (folder / "targets").mkdir()
    for path in sorted(source.glob("tres1-*.fits.fz")):
        (folder / "raw" / path.name).symlink_to(path)
    # The dark was made a frame without the facts of its camera: they are those of the lights.
    light = fits.getheader(source / "tres1-020.fits.fz", 1)
    dark, header = fits.getdata(source / "dark_median15.fits.fz", 1), fits.Header()
    for name in ("EXPTIME", "CCD-TEMP", "XBINNING", "YBINNING", "EGAIN", "INSTRUME", "READOUTM"):
        header[name] = light[name]
    header["IMAGETYP"], header["DATE-OBS"] = "Dark Frame", "2012-06-17T01:30:00"
    fits.writeto(folder / "raw" / "dark.fits", dark, header)
    camera = (
        (ROOT / "config" / "instruments" / "generic.yaml").read_text().replace("name: generic", "name: st10")
    )
    for name, text in (
        ("reduction.yaml", REDUCTION),
        ("curves.yaml", CURVES),
        ("st10.yaml", camera + SITE),
        ("targets/TrES-1.yaml", TARGET),
    ):
        (folder / name).write_text(text)
    snakemake(folder, "lights", "reduction.yaml")
    snakemake(folder, "lightcurve", "curves.yaml")
    return folder / "curves" / "targets" / "TrES-1" / "st10"


def test_lights_are_reduced_with_the_dark(made: Path) -> None:
    """All of them, and each names its dark."""
    frames = made.parents[3] / "reduced" / "nights" / "20120616" / "frames"
    headers = [fits.getheader(path) for path in frames.glob("tres1-*.fits")]
    assert len(headers) == FRAMES
    assert {header["DARKCOR"] for header in headers} == {True}


def test_every_frame_is_aligned_through_a_drift_of_140_px(made: Path) -> None:
    """Residuals of a few hundredths of a pixel, with 20 stars and more."""
    frames, transforms = (read_table(made / f"{kind}_st10.parquet") for kind in ("frames", "transforms"))
    assert list(frames["STATUS"]) == ["ok"] * FRAMES
    assert list(transforms["STATUS"]) == ["ok"] * FRAMES
    assert np.ptp(transforms["DX"]) == pytest.approx(140, abs=2)
    assert np.ptp(transforms["DY"]) == pytest.approx(142, abs=2)
    assert transforms["N"].min() >= 20
    assert transforms["RMS"].max() < 0.056  # what was measured by other means
    assert np.all((frames["SEEING_PX"] > 2.2) & (frames["SEEING_PX"] < 3.6))


@pytest.mark.parametrize(("source", "least", "residual"), [("A", FRAMES, 0.0065), ("A_aper", 45, 0.0076)])
def test_the_transit_is_seen(made: Path, source: str, least: int, residual: float) -> None:
    """2 % deep, 2.5 h long, at its time; residuals below the 7.6 mmag of other photometry of these frames."""
    table = read_table(made / "fluxes_st10.parquet")
    rows = (table["SOURCE"] == source) & table["KEPT"]
    assert rows.sum() >= least
    found = fit(table["BJD_TDB"][rows], table["MAG"][rows])
    assert found.depth == pytest.approx(0.020, abs=0.003)
    assert found.hours == pytest.approx(2.5, abs=0.4)
    assert abs(found.middle - MIDDLE) * 1440 < 10
    assert found.residual < residual
    assert found.point_to_point < residual
    told = float(np.median(table["MAG_ERR"][rows]))
    assert 0.75 < found.point_to_point / told < 1.35


def test_both_curves_are_of_the_same_star(made: Path) -> None:
    """PSF and aperture go up and down together: what they differ by is less than the noise of either."""
    table = read_table(made / "fluxes_st10.parquet")
    psf, aperture = (
        dict(zip(table["FRAME"][rows], table["MAG"][rows], strict=True))
        for rows in ((table["SOURCE"] == s) & table["KEPT"] for s in ("A", "A_aper"))
    )
    common = sorted(set(psf) & set(aperture))
    a, b = (np.array([curve[frame] for frame in common]) for curve in (psf, aperture))
    assert np.corrcoef(a, b)[0, 1] > 0.85
    assert np.std(a - b) < 0.006
    sizes = read_meta(made / "fluxes_st10.parquet")["apertures"]
    assert 4 < sizes["A_aper"] < 16


def test_one_night_is_one_row(made: Path) -> None:
    """The night goes over midnight UTC; the .rdb holds the PSF curve, the README tells the aperture."""
    nights = read_table(made / "nights_st10.parquet")
    assert list(nights["SOURCE"]) == ["A", "A_aper"]
    assert nights["N"][0] == FRAMES
    text = (made.parent / "README.md").read_text()
    assert "53 of 53 frames are in the curve, in 1 night." in text
    assert "A_aper: from an aperture of" in text
    header = (made.parent / "TrES-1.rdb").read_text().splitlines()[0]
    assert "mag_A\t" in header
    assert "A_aper" not in header
