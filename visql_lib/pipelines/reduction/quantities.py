"""The quantities of the reduction: what is measured, in which table it is, and when it is bad."""

from __future__ import annotations

from visql_lib.qc.quantity import BOTH, HIGH, LOW, Quantities, Quantity

CATEGORIES = {"calibration": "Calibration frames", "lights": "Lights", "acquisition": "Acquisition"}

_LIGHT = ("SCIENCE",)


def _master(
    column: str, label: str, unit: str, digits: int, bad: str = BOTH, error: bool = False
) -> Quantity:
    """Return a quantity of a master: a part of the night, no column of the table of frames."""
    return Quantity(
        f"master.{column}",
        label,
        unit,
        "calibration",
        "masters",
        column,
        f"{column}_ERR" if error else "",
        digits=digits,
        bad=bad,
        shown=False,
    )


QUANTITIES = Quantities(
    [
        Quantity(
            "frame.BIAS_LEVEL",
            "overscan",
            "adu",
            "calibration",
            "frames",
            "BIAS_LEVEL",
            digits=1,
        ),
        Quantity("frame.LEVEL", "level", "adu", "calibration", "frames", "LEVEL", digits=1),
        Quantity("frame.NOISE", "noise", "adu", "calibration", "frames", "NOISE", digits=2),
        Quantity("light.SKY", "sky", "adu", "lights", "frames", "SKY", digits=1, bad=HIGH, expected=_LIGHT),
        Quantity("light.FWHM", "FWHM", "px", "lights", "frames", "FWHM", digits=2, bad=HIGH, expected=_LIGHT),
        Quantity("light.N_STARS", "stars", "", "lights", "frames", "N_STARS", digits=0, bad=LOW),
        _master("LEVEL", "level", "adu", 1),
        _master("READ_NOISE", "read noise", "electron", 2, error=True),
        _master("GAIN", "gain", "electron/adu", 3, error=True),
        _master("DARK_RATE", "dark rate", "adu/s", 4, HIGH, error=True),
        _master("RESIDUAL", "residual of single flats", "", 4, HIGH),
        _master("CHANGE", "change of the flat", "", 4, HIGH),
        _master("N_BAD", "masked pixels", "px", 0, HIGH),
    ],
    CATEGORIES,
)
