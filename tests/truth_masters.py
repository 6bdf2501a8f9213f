"""Masters made of the truth of a simulated night, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from visql_lib.flags import PixelFlag
from visql_lib.simulate.night import SimulatedNight


def truth_masters(night: SimulatedNight, folder: Path, **cards: Any) -> dict[str, Path]:
    """Write the true bias, dark (line of each pixel), flats and bad pixels of a night; errors are 0.

    Where frames have an overscan, the level of the bias is not in the master.
    """
    chip, options = night.chip, night.options
    bias = chip.bias.copy()
    if options.has_overscan:
        for amplifier in chip.amplifiers:
            bias[amplifier.part.rows, amplifier.part.columns] -= amplifier.level
    zero = np.zeros(bias.shape, np.float32)
    common = {"CCD-TEMP": options.temperature, "INSTRUME": "Simulated", **cards}
    made = {}

    def write(name: str, data: np.ndarray, own: dict[str, Any], **planes: np.ndarray) -> None:
        header = fits.Header({**common, **own})
        hdus = [fits.PrimaryHDU(data.astype(np.float32), header)]
        hdus += [fits.ImageHDU(plane, name=key) for key, plane in planes.items()]
        made[name] = folder / f"{name}.fits"
        fits.HDUList(hdus).writeto(made[name], overwrite=True)

    write("bias", bias, {"VISQLTYP": "MASTER BIAS", "IMAGETYP": "Bias Frame"}, ERR=zero)
    line = {"OFFSET": chip.offset, "RATE": chip.rate} | dict.fromkeys(("VAROFF", "VARRATE", "COVAR"), zero)
    line = {key: plane.astype(np.float32) for key, plane in line.items()}
    dark = {"VISQLTYP": "MASTER DARK", "IMAGETYP": "Dark Frame", "EXPTIME": 180.0, "BIASCOR": True}
    dark |= {"DARKLINE": True, "DARKOFF": options.camera.offset, "DARKRATE": options.camera.rate}
    write("dark", chip.offset + 180 * chip.rate, dark, ERR=zero, **line)
    for name, flat in chip.flats.items():
        own = {"VISQLTYP": "MASTER FLAT", "IMAGETYP": "Flat Field", "FILTER": name}
        write(f"flat_{name}", flat, own, ERR=zero)
    mask = np.where(chip.hot, int(PixelFlag.HOT), 0) | np.where(chip.dead, int(PixelFlag.DEAD), 0)
    mask = (mask | np.where(chip.column, int(PixelFlag.COLUMN), 0)).astype(np.int16)
    write("bad_pixels", mask, {"VISQLTYP": "BAD PIXELS"}, MASK=mask)
    return made
