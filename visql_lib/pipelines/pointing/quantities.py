"""The quantities of a guide camera: what is measured of each frame, and when it is bad."""

from __future__ import annotations

from typing import Any

from visql_lib.qc.quantity import BOTH, HIGH, LOW, Quantities, Quantity

CATEGORIES = {"zeropoint": "Zero point", "sky": "Sky", "acquisition": "Acquisition"}


def _of(category: str, column: str, label: str, unit: str, digits: int, bad: str, **more: Any) -> Quantity:
    """Return a quantity of the table of a night; its name is the category's and the column's."""
    return Quantity(
        f"{category}.{column}", label, unit, category, "night", column, digits=digits, bad=bad, **more
    )


QUANTITIES = Quantities(
    [
        _of("zeropoint", "ZP", "zero point", "mag", 3, LOW, error="ZP_ERR", span=0.05),
        _of("zeropoint", "ZP_ERR", "zero point error", "mag", 4, HIGH),
        _of("zeropoint", "N_STARS", "stars", "", 0, LOW, fill=-1),
        _of("zeropoint", "SCATTER", "scatter", "mag", 3, HIGH),
        _of("zeropoint", "ZP_SCI", "zero point, science field", "mag", 3, LOW, error="ZP_ERR_SCI", span=0.05),
        _of("zeropoint", "SHIFT", "shift", "px", 2, HIGH),
        _of("sky", "MU", "sky", "mag/arcsec2", 2, LOW, span=0.1),
        _of("sky", "MU_SCI", "sky, science field", "mag/arcsec2", 2, LOW, span=0.1),
        _of("sky", "SKY", "sky level", "adu/s", 3, HIGH),
        _of("sky", "INTER_QUAD_RMS", "rms of quadrants", "adu/s", 3, HIGH),
        _of("sky", "DOME_SHARE", "dome share", "", 4, HIGH, reaching=True),
        _of("sky", "N_STREAKS", "streaks", "", 0, HIGH, fill=-1),
        _of("sky", "AIRMASS", "airmass", "", 3, BOTH),
    ],
    CATEGORIES,
)
