"""The table of light leaks by the direction of the Sun."""

from __future__ import annotations

from visql_lib.tables.schema import Column, TableSchema

_RATIO = "m2 / (W s cm2)"

LEAK = TableSchema(
    "leak",
    "X-rays on the detectors per unit of the Sun's X-ray flux, by solar aspect angle, roll and flux:"
    " where light leaks in.",
    (
        Column("SAA_MIN", "float64", "deg", "bin of the solar aspect angle"),
        Column("SAA_MAX", "float64", "deg", "its end"),
        Column("ALPHA_MIN", "float64", "deg", "bin of the roll from the Sun"),
        Column("ALPHA_MAX", "float64", "deg", "its end"),
        Column("FLUX_MIN", "float64", "W / m2", "bin of GOES_FLUX; 0 with FLUX_MAX infinite: all"),
        Column("FLUX_MAX", "float64", "W / m2", "its end"),
        Column("N_EXPOSURES", "int32", "", "exposures with known angles, flux and rate"),
        Column("N_LIT", "int32", "", "exposures illuminated by X-rays"),
        Column("GOES_FLUX", "float64", "W / m2", "mean"),
        Column("LIT_AREA", "float64", "cm2", "mean of the illuminated exposures; NaN if there are none"),
        Column("LEAK_RATE", "float64", "1 / (s cm2)", "mean rate of solar X-rays, over all detectors"),
        Column("LEAK_RATE_ERR", "float64", "1 / (s cm2)", "its error; NaN if none is illuminated"),
        Column("RATIO", "float64", _RATIO, "LEAK_RATE / GOES_FLUX; NaN if none is illuminated"),
        Column("RATIO_ERR", "float64", _RATIO, "its error, from Poisson and the scatter of exposures"),
        Column("RATIO_LIMIT", "float64", _RATIO, "upper limit if none is illuminated, else NaN"),
        Column("DETECTED", "bool", "", "light leaks in"),
    ),
)
