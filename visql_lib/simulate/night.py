"""A night of an ordinary camera, from its plan to raw files and their truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.simulate.night_chip import SimulatedChip, chip_of
from visql_lib.simulate.night_frames import FULL_SCALE, NightFrame, ReadOut, frames_of, read_out
from visql_lib.simulate.night_headers import PEDESTAL, file_name, primary_header, section_cards, sky_cards
from visql_lib.simulate.night_plan import NightOptions
from visql_lib.simulate.night_sky import StarField, star_fields


class MadeFrame(NamedTuple):
    """One frame: its name, its truth, and what the file holds."""

    name: str
    frame: NightFrame
    hdus: fits.HDUList
    cosmics: NDArray


class SimulatedNight:
    """A night of an ordinary camera: the same options always give the same files.

    Parameters
    ----------
    options : NightOptions
        The plan.
    """

    def __init__(self, options: NightOptions) -> None:
        self.options = options
        self.frames = frames_of(options)
        self.chip: SimulatedChip = chip_of(
            options.camera, options.frames.filters, options.seed, options.dialect == "mosaic"
        )
        self.fields = star_fields(options)

    def made(self) -> Iterator[MadeFrame]:
        """Simulate the frames one after the other."""
        for frame in self.frames:
            content = read_out(self.options, frame, self.chip, self.fields)
            name = file_name(self.options, frame)
            yield MadeFrame(name, frame, self._hdus(frame, content), content.cosmics)

    def _hdus(self, frame: NightFrame, content: ReadOut) -> fits.HDUList:
        """Put a frame in the form of its dialect: one image, or an extension for each amplifier."""
        field = self.fields.get(frame.target)
        header = primary_header(self.options, frame, field)
        parts = [self._array(content, number) for number in range(len(self.chip.amplifiers))]
        if self.options.dialect != "mosaic":
            header.update(self._cards(frame, field, 0))
            return fits.HDUList([fits.PrimaryHDU(parts[0], header)])
        images = []
        for number, part in enumerate(parts):
            own = fits.Header(self._cards(frame, field, number))
            images.append(fits.ImageHDU(part, own, name=f"AMP{number + 1}"))
        return fits.HDUList([fits.PrimaryHDU(header=header), *images])

    def _array(self, content: ReadOut, number: int) -> NDArray[np.uint16]:
        """Return the pixels of an amplifier as it reads them, its overscan behind."""
        part = self.chip.amplifiers[number].part
        image = content.image[part.rows, part.columns]
        image = image[:: -1 if part.reverse_y else 1, :: -1 if part.reverse_x else 1]
        if pedestal := PEDESTAL.get(self.options.dialect):
            return np.minimum(image.astype(np.int32) + pedestal, FULL_SCALE).astype(np.uint16)
        return np.hstack([image, content.overscans[number]]) if content.overscans else image

    def _cards(self, frame: NightFrame, field: StarField | None, number: int) -> dict[str, Any]:
        """Return the cards of an amplifier's image: sections, electronics, and for lights the WCS."""
        if not self.options.has_overscan:
            return {}
        amplifier = self.chip.amplifiers[number]
        whole = self.options.dialect == "observatory"
        cards = section_cards(self.options, amplifier.part, whole)
        if not whole:
            cards |= {"GAIN": amplifier.gain, "RDNOISE": self.options.camera.read_noise, "SATURATE": 65535}
        if field is not None:
            cards |= sky_cards(self.options, frame, field, amplifier.part)
        return cards

    def camera_truth(self) -> fits.HDUList:
        """Return the truth: BIAS, OFFSET, RATE, GAIN, FLAT_filter, HOT, DEAD, COLUMN and NONLINEAR."""
        chip = self.chip
        images: dict[str, tuple[NDArray, str]] = {
            "BIAS": (chip.bias, "adu"),
            "OFFSET": (chip.offset, "adu"),
            "RATE": (chip.rate, "adu/s"),
            "GAIN": (chip.gain, "electron/adu"),
            **{f"FLAT_{name}": (flat, "") for name, flat in chip.flats.items()},
            "HOT": (chip.hot.astype(np.uint8), ""),
            "DEAD": (chip.dead.astype(np.uint8), ""),
            "COLUMN": (chip.column.astype(np.uint8), ""),
            "NONLINEAR": (chip.nonlinear.astype(np.uint8), ""),
        }
        hdus = [
            fits.ImageHDU(data, fits.Header({"BUNIT": unit}), name) for name, (data, unit) in images.items()
        ]
        return fits.HDUList([fits.PrimaryHDU(), *hdus])

    def star_columns(self) -> dict[str, Any]:
        """Return the true stars, a row for each star and filter."""
        rows = [
            (field.name, name, np.arange(len(field.x)), field.x, field.y, flux)
            for field in self.fields.values()
            for name, flux in field.flux.items()
        ]
        columns: dict[str, list[Any]] = {"TARGET": [], "FILTER": []}
        for target, name, *_, flux in rows:
            columns["TARGET"] += [target] * len(flux)
            columns["FILTER"] += [name] * len(flux)
        joined = {key: np.array(values, dtype=object) for key, values in columns.items()}
        numbers = zip(*(row[2:] for row in rows), strict=True) if rows else ([], [], [], [])
        keys = ("STAR", "X", "Y", "FLUX")
        return joined | {
            k: np.concatenate(v) if v else np.empty(0) for k, v in zip(keys, numbers, strict=True)
        }

    def frame_columns(self) -> dict[str, Any]:
        """Return the truth of the frames, one row each."""
        pointings = [frame.pointing for frame in self.frames]
        nan = float("nan")
        texts = {
            "FILE": [file_name(self.options, frame) for frame in self.frames],
            "TYPE": [frame.type for frame in self.frames],
            "DATE_OBS": [f"{frame.start:%Y-%m-%dT%H:%M:%S}" for frame in self.frames],
            "FILTER": [frame.filter for frame in self.frames],
            "TARGET": [frame.target for frame in self.frames],
        }
        numbers = {
            "EXPTIME": [frame.exptime for frame in self.frames],
            "LEVEL": [frame.level for frame in self.frames],
            "SHIFT_X": [p.shift[0] if p else nan for p in pointings],
            "SHIFT_Y": [p.shift[1] if p else nan for p in pointings],
            "TURN": [p.turn if p else nan for p in pointings],
            "TRANSPARENCY": [frame.transparency for frame in self.frames],
            "SKY": [frame.sky for frame in self.frames],
            "FWHM": [frame.fwhm for frame in self.frames],
            "DRIFT": [frame.drift for frame in self.frames],
            "ODD": [int(frame.odd) for frame in self.frames],
        }
        found: dict[str, Any] = {key: np.array(values, dtype=object) for key, values in texts.items()}
        return found | {key: np.array(values) for key, values in numbers.items()}


def cosmic_columns(name: str, cosmics: NDArray) -> dict[str, Any]:
    """Return the pixels of a frame that cosmic rays hit, a row each."""
    y, x = np.nonzero(cosmics)
    names = np.full(len(x), name, dtype=object)
    return {"FILE": names, "X": x, "Y": y, "CHARGE": cosmics[y, x]}


def raw_folder(folder: Path) -> Path:
    """Return the folder of the raw frames of a night: with nothing else in it."""
    return folder / "raw"


def truth_folder(folder: Path) -> Path:
    """Return the folder of the truth, beside that of the raw frames."""
    return folder / "truth"
