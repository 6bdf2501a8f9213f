"""The quantities of the light curves: what is measured, in which table it is, and when it is bad."""

from __future__ import annotations

from visql_lib.qc.quantity import BOTH, HIGH, LOW, Quantities, Quantity

CATEGORIES = {"frames": "Frames", "target": "Light curve", "acquisition": "Acquisition"}


def _frame(
    column: str, label: str, unit: str, digits: int, bad: str = HIGH, expected: bool = False
) -> Quantity:
    return Quantity(
        f"frame.{column}",
        label,
        unit,
        "frames",
        "frames",
        column,
        digits=digits,
        bad=bad,
    )


def _night(column: str, label: str, unit: str, digits: int, bad: str = HIGH) -> Quantity:
    """Return a quantity of a point source in a night: a part of the set, no column of the table of frames."""
    return Quantity(
        f"night.{column}", label, unit, "target", "nights", column, digits=digits, bad=bad, shown=False
    )


QUANTITIES = Quantities(
    [
        _frame("SEEING", "seeing", "arcsec", 2),
        _frame("SEEING_PX", "seeing", "px", 2),
        _frame("ELLIPTICITY", "ellipticity", "", 3),
        _frame("SKY", "sky", "electron", 0),
        _frame("RMS", "noise of the sky", "electron", 2),
        _frame("N_STARS", "stars", "", 0, LOW),
        _frame("AIRMASS", "airmass", "", 3),
        _frame("SUN_ALT", "altitude of the Sun", "deg", 1),
        _frame("MOON_LIT", "lit part of the Moon", "", 2),
        _night("MAG", "magnitude", "mag", 3, BOTH),
        _night("MEAN_ERR", "error of the mean", "mag", 4),
        _night("COEFF", "coefficient", "", 3),
    ],
    CATEGORIES,
)
