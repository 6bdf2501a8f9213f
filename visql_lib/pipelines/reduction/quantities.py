"""The quantities of the reduction: what is measured, in which table it is, and when it is bad."""

from __future__ import annotations

from visql_lib.qc.quantity import HIGH, LOW, Quantities, Quantity

CATEGORIES = {"calibration": "Calibration frames", "lights": "Lights", "acquisition": "Acquisition"}

_LIGHT = ("SCIENCE",)

QUANTITIES = Quantities(
    [
        Quantity(
            "frame.BIAS_LEVEL",
            "level of the overscan",
            "adu",
            "calibration",
            "frames",
            "BIAS_LEVEL",
            digits=1,
        ),
        Quantity("light.SKY", "sky", "adu", "lights", "frames", "SKY", digits=1, bad=HIGH, expected=_LIGHT),
        Quantity("light.FWHM", "FWHM", "px", "lights", "frames", "FWHM", digits=2, bad=HIGH, expected=_LIGHT),
        Quantity("light.N_STARS", "stars", "", "lights", "frames", "N_STARS", digits=0, bad=LOW),
        Quantity("master.LEVEL", "level", "adu", "calibration", "masters", "LEVEL", digits=1),
        Quantity(
            "master.READ_NOISE",
            "read noise",
            "electron",
            "calibration",
            "masters",
            "READ_NOISE",
            "READ_NOISE_ERR",
            digits=2,
        ),
        Quantity(
            "master.GAIN", "gain", "electron/adu", "calibration", "masters", "GAIN", "GAIN_ERR", digits=3
        ),
        Quantity(
            "master.DARK_RATE",
            "dark rate",
            "adu/s",
            "calibration",
            "masters",
            "DARK_RATE",
            "DARK_RATE_ERR",
            digits=4,
            bad=HIGH,
        ),
        Quantity(
            "master.RESIDUAL",
            "scatter of single flats over their master",
            "",
            "calibration",
            "masters",
            "RESIDUAL",
            digits=4,
            bad=HIGH,
        ),
        Quantity(
            "master.N_BAD", "masked pixels", "px", "calibration", "masters", "N_BAD", digits=0, bad=HIGH
        ),
    ],
    CATEGORIES,
)
