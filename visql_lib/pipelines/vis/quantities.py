"""The quantities of VIS: what is measured, in which table it is, what it is called and when it is bad.

A new quantity needs its row here and nothing else: limits, QC results, pages, plots and alerts follow.
"""

from __future__ import annotations

import re

from visql_lib.qc.quantity import HIGH, Quantities, Quantity, metric_of

# What QC evaluates, in the order of the tiles.
CATEGORIES = {
    "quality": "Image quality",
    "photometry": "Photometry and ice",
    "radiation": "Radiation",
    "calibration": "Calibration frames",
    "acquisition": "Acquisition",
}

_SCIENCE = ("SCIENCE",)
_PARTICLES = ("SCIENCE", "DARK")
_ALL = ("*",)


def _psf(column: str, label: str, digits: int, unit: str = "", error: str = "", **more: object) -> Quantity:
    """Return a quantity of image quality; every SCIENCE exposure should have it."""
    return _quantity("psf", column, label, unit, "quality", "psfmoments", digits, error, _SCIENCE, **more)


def _particles(column: str, label: str, unit: str, digits: int, error: str = "", **more: object) -> Quantity:
    """Return a rate or an area of particles; SCIENCE and DARK exposures should have it."""
    own = {"logarithmic": True} | more
    return _quantity(
        "radiation", column, label, unit, "radiation", "radiation", digits, error, _PARTICLES, **own
    )


def _detector(
    column: str, label: str, unit: str, digits: int, expected: tuple[str, ...], **more: object
) -> Quantity:
    """Return a level or defects of a frame's detectors."""
    error = f"{column}_ERR" if unit else ""
    return _quantity(
        "detector", column, label, unit, "calibration", "detector_frames", digits, error, expected, **more
    )


def _ratio(column: str, colour: str) -> Quantity:
    return Quantity(
        f"ratio.{column}",
        f"VIS/Gaia {colour}",
        "",
        "photometry",
        "astrometry",
        column,
        f"{column}_ERR",
        digits=4,
        expected=_SCIENCE,
        formerly="R2G" if column == "R2" else column,
    )


def _quantity(
    of: str,
    column: str,
    label: str,
    unit: str,
    category: str,
    table: str,
    digits: int,
    error: str,
    expected: tuple[str, ...],
    **more: object,
) -> Quantity:
    known: dict[str, object] = {"digits": digits, "expected": expected, "formerly": column} | more
    return Quantity(f"{of}.{column}", label, unit, category, table, column, error, **known)  # type: ignore[arg-type]


# In the order of the pages.
_FLUX_LOSS = re.compile(r"flux_loss_(.+)_(\d+(?:\.\d+)?)")  # what alerts of the trend were called


def colour_part(colour: float) -> str:
    """Return what the flux loss at a colour BP-RP [mag] is called among the parts of a month."""
    return f"BP-RP {colour:g}"


def _former_metric(metric: str) -> str:
    """Return what an alert of the trend is called that once had another name; others stay as they are."""
    if (match := _FLUX_LOSS.fullmatch(metric)) is not None:
        return metric_of("trend.LOSS", match[1], colour_part(float(match[2])))
    return metric


QUANTITIES = Quantities(
    (
        _psf("R2", "R²", 3, "px²", "R2_ERR"),
        _psf("e1", "e1", 4, error="e1_ERR"),
        _psf("e2", "e2", 4, error="e2_ERR"),
        _psf("tr1", "trefoil 1", 3, error="tr1_ERR"),
        _psf("tr2", "trefoil 2", 3, error="tr2_ERR"),
        _psf("com1", "coma 1", 3, error="com1_ERR", shown=False),
        _psf("com2", "coma 2", 3, error="com2_ERR", shown=False),
        _psf("SCORE", "score", 1, bad=HIGH, logarithmic=True),
        _psf("N_STARS", "stars", 0),
        _ratio("R1", "0.75"),
        _ratio("R2", "1.75"),
        _ratio("R3", "2.75"),
        Quantity("astrometry.SCATTER", "astrometry", "px", "photometry", "astrometry", "SCATTER",
                 bad=HIGH, expected=_SCIENCE, formerly="SCATTER"),
        _particles("COSMIC_DARK_RATE", "cosmics", "1/cm²/s", 3),
        _particles("XRAY_RATE", "X-rays", "1/cm²/s", 3, "XRAY_RATE_ERR"),
        _particles("PROTON_RATE", "protons", "1/cm²/s", 5, "PROTON_RATE_ERR"),
        _particles("LIT_AREA", "lit area", "cm²", 1, bad=HIGH),
        Quantity("sun.GOES_FLUX", "GOES 0.05-0.4 nm", "W/m²", "radiation", "angles", "GOES_FLUX",
                 digits=10, bad=HIGH, logarithmic=True, formerly="GOES_FLUX"),
        _detector("BIAS", "bias", "ADU", 2, _ALL),
        _detector("READ_NOISE", "read noise", "ADU", 3, _ALL, span=0.04),
        _detector("SIGNAL", "level", "ADU", 2, _ALL, span=20.0, logarithmic=True),
        _detector("DARK_RATE", "dark rate", "ADU/s", 5, ("DARK",), span=1e-4),
        _detector("N_HOT", "hot pixels", "", 0, (), bad=HIGH, span=2.0, shown=False),
        _detector("N_HOT_COLUMNS", "bright columns", "", 0, ("DARK", "BIAS"), bad=HIGH, shown=False),
        _detector("FLAT_SCATTER", "flat, scatter of the quadrants", "", 5, ("FLAT",), bad=HIGH, shown=False),
        Quantity("trend.LOSS", "flux loss", "mmag", "photometry", "trend", "LOSS_END", digits=2, bad=HIGH,
                 shown=False, limits_in="the settings trend.warn_loss and trend.error_loss", reaching=True,
                 page="trends.html"),
        Quantity("trend.RATE", "rate of flux loss", "mmag/d", "photometry", "trend", "RATE", "RATE_ERR",
                 digits=3, bad=HIGH, shown=False, reaching=True, alert="trend.LOSS",
                 limits_in="the settings trend.warn_rate and trend.error_rate", page="trends.html"),
    ),
    CATEGORIES,
    _former_metric,
)  # fmt: skip

# Category -> the table whose row says how a frame is.
TABLE_OF_CATEGORY = {
    "quality": "psfmoments",
    "photometry": "astrometry",
    "radiation": "radiation",
    "calibration": "detector_frames",
}
