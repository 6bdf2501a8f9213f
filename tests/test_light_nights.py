"""Curves of a set: which frames count and why, apertures beside the PSF, limits in px, nights shared by sources."""

from pathlib import Path

import numpy as np
import pytest

from visql_lib.flags import StarFlag
from visql_lib.pipelines import settings_from_mapping
from visql_lib.pipelines.lightcurves import schemas
from visql_lib.pipelines.lightcurves.stages.lc_nights import NightInputs, NightOutputs, run
from visql_lib.products.context import Context
from visql_lib.tables import read_table, write_table

N, PER_NIGHT, APERTURES = 40, 5, 3
NAMES = [f"g{i:02d}" for i in range(N)]
DIP = np.where((np.arange(N) >= 15) & (np.arange(N) < 25), 0.98, 1.0)
NOISE = (0.02, 0.002, 0.01)  # of the apertures
SPOILT = {("A", 30): StarFlag.COSMIC, ("a", 31): StarFlag.SATURATED, ("A", 32): StarFlag.BAD_PIXELS}
STARS = ("a", "b", "c", "d", "e")
DIAMETERS = [4.0, 10.0, 20.0]


def star_rows(rng: np.random.Generator, air: np.ndarray) -> list[dict]:
    """Make the apertures: five stars, of which `e` varies; the target dips by 2 %; it is hit in g30, on bad pixels in g32."""
    rows = []
    for k, name in enumerate((*STARS, "A")):
        true = air * (DIP if name == "A" else 1 + 0.2 * np.sin(np.arange(N)) if name == "e" else 1)
        for i, frame in enumerate(NAMES):
            flags = SPOILT.get((name, i), 0)
            flux = 1e5 * (k + 1) * true[i] * (1 + np.array(NOISE) * rng.normal(0, 1, APERTURES))
            flux = flux * np.nan if flags == StarFlag.BAD_PIXELS else flux * 3 if flags else flux
            rows.append(
                {
                    "FRAME": frame,
                    "STAR": name,
                    "FLUX_APER": flux,
                    "FLUXERR_APER": flux * 0.002,
                    "FLAGS": flags,
                }
            )
    return rows


def make_set(folder: Path, *, scale: float = np.nan, dropped: tuple[str, ...] = ("e",)) -> dict[str, Path]:
    """Write the tables of a set with one point source; g03 is not aligned, g07 has no PSF, g12 no star."""
    rng = np.random.default_rng(8)
    air = rng.uniform(0.7, 1.0, N)
    seeing = np.full(N, 5.0)
    seeing[35] = 9.0
    time = [56000.2 + i // PER_NIGHT + 0.01 * (i % PER_NIGHT) for i in range(N)]
    frames = [
        {
            "FRAME": name,
            "NIGHT": f"201203{13 + i // PER_NIGHT}",
            "STATUS": "ok",
            "MJD": time[i],
            "MHJD": time[i] + 0.003,
            "BJD_TDB": 2400000.5 + time[i] + 0.0038,
            "SKY": 500.0,
            "SEEING": seeing[i] * scale,
            "SEEING_PX": seeing[i],
            "ELLIPTICITY": 0.05,
            "AIRMASS": 1.1,
        }
        for i, name in enumerate(NAMES)
    ]
    not_aligned = {"STATUS": "not_aligned", "REASON": "4 stars of 20"}
    no_psf = {"STATUS": "no_psf", "REASON": "2 stars"}
    lost = {"g03", "g07", "g12"}
    scene = [
        {
            "FRAME": name,
            "SOURCE": "A",
            "FLUX": np.nan if name in lost - {"g12"} else 5e4 * air[i] * DIP[i] + rng.normal(0, 50),
            "ERR": 50.0,
            "ERR_COMMON": 10.0,
            "COVARIANCE": np.array([2500.0]),
            "COVARIANCE_COMMON": np.array([100.0]),
            "CHI2": 1.0,
        }
        for i, name in enumerate(NAMES)
    ]
    tables = {
        "frames": (schemas.FRAMES, frames, {}),
        "transforms": (
            schemas.TRANSFORMS,
            [{"FRAME": n, "STATUS": "ok"} | (not_aligned if n == "g03" else {}) for n in NAMES],
            {},
        ),
        "psf": (
            schemas.PSF,
            [{"FRAME": n, "STATUS": "ok"} | (no_psf if n == "g07" else {}) for n in NAMES if n != "g03"],
            {},
        ),
        "medcoeff": (
            schemas.MEDCOEFF,
            [{"FRAME": n, "MEDCOEFF": 1 / a} for n, a in zip(NAMES, air, strict=True)],
            {},
        ),
        "renorm": (
            schemas.RENORM,
            [
                {"FRAME": n, "C": np.nan if n in lost else 1 / a, "C_ERR": 0.001, "N": 5}
                for n, a in zip(NAMES, air, strict=True)
                if n != "g03"
            ],
            {"dropped": list(dropped)},
        ),
        "target": (schemas.SCENE, scene, {"sources": ["A"]}),
        "stars": (schemas.STARS, [{"STAR": n, "NORM": True} for n in STARS], {}),
        "apertures": (
            schemas.APERTURES,
            [r for r in star_rows(rng, air) if r["FRAME"] != "g03"],
            {"diameters": DIAMETERS},
        ),
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for kind, (schema, rows, meta) in tables.items():
        paths[kind] = folder / f"{kind}_R.parquet"
        write_table(paths[kind], schema.of_rows(rows), schema, stage=f"lc_{kind}", stage_version=1, meta=meta)
    return paths


def curve_of(tables: dict[str, Path], **nights: object) -> NightOutputs:
    """Compute the curve of a set."""
    settings = settings_from_mapping({"pipeline": "lightcurves", "nights": nights})
    return run(Context.using(settings, ("nights", "export")), NightInputs(tables, "R"))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the tables of the set without pixel scale."""
    return make_set(tmp_path_factory.mktemp("nights") / "R")


@pytest.fixture(scope="module")
def made(tables: dict[str, Path]) -> NightOutputs:
    """Return its curve."""
    return curve_of(tables)


def reasons(made: NightOutputs, source: str) -> dict[str, str]:
    """Return why frames do not count for a source."""
    table = made.fluxes
    rows = (table["SOURCE"] == source) & ~table["KEPT"]
    return dict(zip(map(str, table["FRAME"][rows]), map(str, table["REASON"][rows]), strict=True))


def test_each_frame_that_does_not_count_says_why(made: NightOutputs) -> None:
    """The stage that lost it is named; a limit gives value and limit, in px where no scale is known."""
    assert reasons(made, "A") == {
        "g03": "not_aligned: 4 stars of 20",
        "g07": "no_psf: 2 stars",
        "g12": "no coefficient: no comparison star was measured",
        "g35": "seeing 9 above 7.5 px",
    }
    assert np.isfinite(made.fluxes["MAG"][made.fluxes["KEPT"]]).all()


def test_an_aperture_needs_no_psf(made: NightOutputs) -> None:
    """Without PSF or PSF coefficient the aperture still counts; hit by a cosmic ray it does not."""
    assert reasons(made, "A_aper") == {
        "g03": "not_aligned: 4 stars of 20",
        "g30": "A_aper: a cosmic ray in its aperture",
        "g32": "A_aper: bad pixels in its aperture",
        "g35": "seeing 9 above 7.5 px",
    }


@pytest.mark.parametrize("source", ["A", "A_aper"])
def test_the_dip_is_there_in_both_curves(made: NightOutputs, source: str) -> None:
    """2 % deep, as it was put in, whatever the air let through; scatter as the noise is."""
    table = made.fluxes
    rows = (table["SOURCE"] == source) & table["KEPT"]
    mag = table["MAG"][rows]
    low = np.isin(table["FRAME"][rows], np.array(NAMES)[DIP < 1])
    assert np.median(mag[low]) - np.median(mag[~low]) == pytest.approx(-2.5 * np.log10(0.98), abs=0.0016)
    assert np.std(mag[~low] - np.median(mag[~low])) < 0.004
    assert np.std(mag[low] - np.median(mag[low])) < 0.004


def test_the_aperture_of_least_scatter_is_told(made: NightOutputs) -> None:
    """The middle one of 10 px."""
    assert made.meta["apertures"] == {"A_aper": 10.0}
    assert made.meta["sources"] == ["A", "A_aper"]


def test_coefficients_of_the_aperture_are_1_for_the_photometric_reference(tmp_path: Path) -> None:
    """As those of the PSF: both curves are on one scale."""
    tables = make_set(tmp_path / "R")
    renorm = read_table(tables["renorm"])
    meta = {"dropped": ["e"], "photometric": "g20"}
    write_table(tables["renorm"], dict(renorm), schemas.RENORM, stage="lc_renorm", stage_version=1, meta=meta)
    table = curve_of(tables).fluxes
    rows = (table["SOURCE"] == "A_aper") & (table["FRAME"] == "g20")
    assert table["C"][rows] == pytest.approx([1.0], abs=1e-12)


def test_a_star_that_was_dropped_does_not_serve_the_aperture(tables: dict[str, Path], tmp_path: Path) -> None:
    """Star e varies by 20 %: with it as one of five, the errors of coefficients are larger."""
    free = curve_of(make_set(tmp_path / "R", dropped=()))
    errors = [
        np.nanmedian(made.fluxes["C_ERR"][made.fluxes["SOURCE"] == "A_aper"])
        for made in (free, curve_of(tables))
    ]
    assert errors[0] > 1.15 * errors[1]


def test_without_apertures_there_is_the_psf_curve_alone(tables: dict[str, Path]) -> None:
    """Tables that are optional may be missing; the frame without PSF has then no coefficient."""
    some = {kind: path for kind, path in tables.items() if kind not in ("apertures", "stars", "psf")}
    made = curve_of(some)
    assert set(made.fluxes["SOURCE"]) == {"A"}
    assert reasons(made, "A")["g07"] == "A was not measured"


def test_limits_are_in_arcsec_where_the_scale_is_known(tmp_path: Path) -> None:
    """5 px of 0.4 arcsec are 2 arcsec, above the fixed limit: automatic it holds, fixed all frames are out."""
    tables = make_set(tmp_path / "R", scale=0.4)
    found = curve_of(tables)
    assert reasons(found, "A")["g35"] == "seeing 3.6 above 2 arcsec"
    assert len(reasons(found, "A")) == 4
    fixed = curve_of(tables, auto=False)
    assert len(reasons(fixed, "A")) == N
    assert reasons(fixed, "A")["g20"] == "seeing 2 above 1.5 arcsec"
    assert not len(fixed.nights["SOURCE"])
    wider = curve_of(tables, auto=False, max_seeing=2.5)
    assert reasons(wider, "A")["g35"] == "seeing 3.6 above 2.5 arcsec"


def test_nights_are_the_same_for_all_sources(tmp_path: Path) -> None:
    """A lacks the middle of a night of 13 h: it is one night for A, too, since the aperture has the middle."""
    tables = make_set(tmp_path / "R")
    frames = dict(read_table(tables["frames"]))
    for i, part in ((6, 0.05), (7, 0.3), (8, 0.5), (9, 0.55)):  # g07 has no PSF
        for name in ("MJD", "MHJD", "BJD_TDB"):
            frames[name][i] = frames[name][5] + part
    write_table(tables["frames"], frames, schemas.FRAMES, stage="lc_frames", stage_version=1)
    nights = curve_of(tables).nights
    of_a = nights["SOURCE"] == "A"
    assert len(nights["N"][of_a]) == N // PER_NIGHT == len(nights["N"][~of_a])
    assert (nights["N"][of_a][1], nights["N"][~of_a][1]) == (4, 5)


def test_errors_of_nights_and_flags(made: NightOutputs) -> None:
    """Nights of three and more are flagged true; the six errors are finite and m5 the largest of m1, m4."""
    nights = made.nights
    assert list(nights["FLAG"]) == list(nights["N"] >= 3)
    assert np.array_equal(
        nights["MAG_ERR"][:, 5], np.maximum(nights["MAG_ERR"][:, 1], nights["MAG_ERR"][:, 4])
    )
    assert made.meta["limits"]["seeing"] == 7.5
