"""What a stage of masters makes: the master, and what became of each frame."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.images.image import Image
from visql_lib.images.masters import plain
from visql_lib.pipelines.reduction.schemas import FRAMES
from visql_lib.pipelines.reduction.stages.masters import SetFrame
from visql_lib.pipelines.reduction.status import FrameStatus

log = logging.getLogger(__name__)


@dataclass
class MasterOutputs:
    """What a stage of masters made.

    Attributes
    ----------
    kind : str
        VISQLTYP of the master.
    name : str
        Of the set.
    frames : list of SetFrame
        What became of each frame.
    image : Image or None
        The master; None if it failed.
    planes : dict
        Its further extensions.
    meta : dict
        ``failed``: why there is no master; ``reason``: what is doubtful about it; numbers for the picture.
    masters : dict
        Names of masters that were taken off its frames: columns of FRAMES.
    unused : FrameStatus
        What frames without a fault of their own become where there is no master.
    """

    kind: str
    name: str
    frames: list[SetFrame] = field(default_factory=list)
    image: Image | None = None
    planes: dict[str, NDArray] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    masters: dict[str, str] = field(default_factory=dict)
    unused: FrameStatus = FrameStatus.FAILED

    @property
    def failed(self) -> str:
        """Why there is no master; "" if there is."""
        return str(self.meta.get("failed", ""))

    @property
    def columns(self) -> dict[str, Any]:
        """The table FRAMES."""
        return FRAMES.of_rows(_row(frame) | {"SET": self.name} | self.masters for frame in self.frames)

    def close(self, paths: Iterable[Path]) -> None:
        """Say of each frame of the list why it does not count, where there is no master."""
        if not self.failed:
            return
        known = {frame.path for frame in self.frames}
        self.frames += [SetFrame(path) for path in paths if path not in known]
        for frame in self.frames:
            if frame.status.is_used:
                frame.leave_out(self.unused, f"no master: {self.failed}")

    def doubt(self, reasons: Iterable[str]) -> None:
        """Note what is doubtful about the master as a whole, in its header as well."""
        told = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
        self.meta["reason"] = told
        if told:
            log.warning("%s: %s", self.name, told)
            if self.image is not None:
                self.image.header["REASON"] = plain(told)


def _row(frame: SetFrame) -> dict[str, Any]:
    facts, start = frame.facts, frame.facts.start
    return {
        "EXPOSURE": frame.exposure,
        "FILE": frame.path.name,
        "TYPE": facts.frame_type,
        "DATE_OBS": np.datetime64("NaT" if start is None else start.replace(tzinfo=None), "us"),
        "EXPTIME": facts.exptime,
        "FILTER": facts.filter,
        "OBJECT": facts.object,
        "STATUS": str(frame.status),
        "REASON": "; ".join(dict.fromkeys(frame.reasons)),
        "BIAS_LEVEL": frame.bias_level,
        "LEVEL": frame.level,
        "NOISE": frame.noise,
        "RESIDUAL": frame.residual,
        "N_SATURATED": frame.n_saturated,
        "N_MASKED": frame.n_masked,
        "N_COSMIC": -1,
    }
