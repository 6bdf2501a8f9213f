"""What is taken off each flat: the bias, and the dark of its own exposure time, with their error."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import NoMasterError, RequestError
from visql_lib.images.chip import Chip
from visql_lib.images.image import Image
from visql_lib.images.masters import BIAS, SAME_TIME, MasterDark, require_master
from visql_lib.pipelines.reduction.stages.master_dark import take_off


@dataclass
class TakenOff:
    """What is taken off each flat: bias, and the dark of its own exposure time.

    Attributes
    ----------
    bias : Image or None
    dark : MasterDark or None
    doubts : list of str
        What could not be taken off, and why.
    problems : dict
        File -> why it cannot be used.
    errs : dict
        Exposure time [s] -> standard error of all that was taken off [ADU].
    """

    bias: Image | None
    dark: MasterDark | None
    doubts: list[str] = field(default_factory=list)
    problems: dict[Path | None, str] = field(default_factory=dict)
    errs: dict[float, NDArray] = field(default_factory=dict)

    @classmethod
    def read(cls, bias: Path | None, dark: Path | None) -> TakenOff:
        """Read the masters; one that failed or is missing is told."""
        found = cls(None, None)
        try:
            found.bias = require_master(bias, BIAS) if bias is not None else None
        except NoMasterError as error:
            found.doubts.append(str(error))
        try:
            found.dark = MasterDark.read(dark) if dark is not None else None
        except NoMasterError as error:
            found.doubts.append(str(error))
        if bias is None:
            found.doubts.insert(0, "no master bias is taken off")
        if found.dark is not None and bool(found.dark.bias) != (found.bias is not None):
            why = "it holds the bias" if found.bias is not None else "there is no master bias"
            found.dark = None
            found.doubts.append(f"no dark is taken off, as {why}")
        elif found.dark is None and dark is None:
            found.doubts.append("no master dark is taken off")
        return found

    @property
    def names(self) -> dict[str, str]:
        """Names of the masters: columns of FRAMES."""
        found = {}
        if self.bias is not None:
            found["MASTER_BIAS"] = self.bias.name
        if self.dark is not None:
            found["MASTER_DARK"] = self.dark.image.name
        return found

    def take_off(self, chip: Chip) -> None:
        """Take bias and dark off a flat, in place; one that has no time is noted.

        Raises
        ------
        RequestError
            If they do not fit.
        """
        image, exptime = chip.image, chip.facts.exptime
        if self.bias is None and self.dark is None:
            if math.isnan(chip.bias_level):
                self.problems[image.path] = "neither master bias nor overscan: its bias is not known"
            return
        take_off(chip, self.bias)
        if self.dark is None:
            err = self.bias.err if self.bias is not None else None
            self.errs.setdefault(exptime, np.zeros(1) if err is None else err)
            return
        if self.dark.image.data.shape != image.data.shape:
            raise RequestError(f"{self.dark.image.name} has another size than {image.name}")
        if not exptime >= 0:
            self.problems[image.path] = "no exposure time in its header: no dark is known for it"
            return
        try:
            dark, err = self._dark(self.dark, exptime)
        except RequestError as error:
            self.doubts.append(f"no dark is taken off: {error}")
            self.dark = None
            if self.bias is None:
                self.take_off(chip)
            return
        image.data -= dark
        self.errs.setdefault(exptime, err)

    def _dark(self, dark: MasterDark, exptime: float) -> tuple[NDArray, NDArray]:
        """Return the dark for an exposure time [s], and the standard error of all that is taken off [ADU]."""
        tolerance = SAME_TIME * exptime
        if self.bias is None:
            found = dark.at(exptime, tolerance)
            return found.dark.astype(np.float32), found.err.astype(np.float32)
        total = dark.with_bias(exptime, self.bias, tolerance)
        return (total.dark - self.bias.data).astype(np.float32), total.err.astype(np.float32)

    @property
    def err(self) -> NDArray | float:
        """The standard error of what was taken off [ADU]; of several exposure times the largest."""
        return np.max(list(self.errs.values()), axis=0) if self.errs else 0.0
