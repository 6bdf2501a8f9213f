"""Simulated lights, reduced with the truth of their chip, and what is true of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from visql_lib.flags import PixelFlag
from visql_lib.images.image import Image
from visql_lib.images.writing import write_image
from visql_lib.simulate.night import SimulatedNight
from visql_lib.simulate.night_frames import NightFrame
from visql_lib.simulate.night_plan import NightOptions


@dataclass
class Light:
    """A reduced light: where it is, its truth, and its cosmic rays [electron]."""

    path: Path
    frame: NightFrame
    cosmics: np.ndarray


def night(lights=4, seed=1, target="M67", stars=200, **sky):
    """A night of lights in one filter only."""
    frames = {"lights": lights, "filters": ["R"], "biases": 0, "darks": 0, "flats": 0}
    sky = {"targets": [target], "stars": stars, "flip": False, **sky}
    return SimulatedNight(NightOptions.model_validate({"seed": seed, "frames": frames, "sky": sky}))


def reduce_lights(simulated, folder):
    """Write all lights, reduced by the truth, with ERR of the noise that they have, and MASK."""
    chip, camera = simulated.chip, simulated.options.camera
    found = []
    for made in simulated.made():
        if made.frame.type != "SCIENCE":
            continue
        raw, header = made.hdus[0].data.astype(float), made.hdus[0].header
        flat = chip.flats[made.frame.filter]
        light = raw - chip.bias - chip.offset
        variance = np.maximum(light, 0) / chip.gain + (camera.read_noise / chip.gain) ** 2 + 1 / 12
        data = (light - chip.rate * made.frame.exptime) / flat
        mask = np.zeros(raw.shape, np.int16)
        for where, flag in (
            (raw >= 65000, PixelFlag.SATURATED),
            (chip.hot, PixelFlag.HOT),
            (chip.dead, PixelFlag.DEAD),
            (chip.column, PixelFlag.COLUMN),
        ):
            mask[where] |= flag
        header = fits.Header({k: v for k, v in header.items() if k not in ("BZERO", "BSCALE", "BITPIX")})
        header["BUNIT"] = "adu"
        path = folder / f"{Path(made.name).stem}.fits"
        image = Image(data.astype(np.float32), header, (np.sqrt(variance) / flat).astype(np.float32), mask)
        write_image(path, image, {"reduce": 1})
        found.append(Light(path, made.frame, made.cosmics))
    return found
