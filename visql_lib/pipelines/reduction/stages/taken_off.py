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
        if found.bias is None and found.dark is not None:
            found.dark = None
            found.doubts.append("no dark is taken off, as there is no master bias")
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
        if self.bias is None:
            if math.isnan(chip.bias_level):
                self.problems[image.path] = "neither master bias nor overscan: its bias is not known"
            return
        take_off(chip, self.bias)
        if self.dark is None:
            self.errs.setdefault(exptime, np.zeros(1) if self.bias.err is None else self.bias.err)
            return
        if self.dark.image.data.shape != image.data.shape:
            raise RequestError(f"{self.dark.image.name} has another size than {image.name}")
        if not exptime >= 0:
            self.problems[image.path] = "no exposure time in its header: no dark is known for it"
            return
        try:
            total = self.dark.with_bias(exptime, self.bias, SAME_TIME * exptime)
        except RequestError as error:
            self.doubts.append(f"no dark is taken off: {error}")
            self.dark = None
            return
        image.data -= (total.dark - self.bias.data).astype(np.float32)
        self.errs.setdefault(exptime, total.err.astype(np.float32))

    @property
    def err(self) -> NDArray | float:
        """The standard error of what was taken off [ADU]; of several exposure times the largest."""
        return np.max(list(self.errs.values()), axis=0) if self.errs else 0.0
