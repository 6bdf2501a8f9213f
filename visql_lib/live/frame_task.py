"""What a watch of single frames needs of those who know them, and where, when and how often it works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from visql_lib.live.arrivals import FrameRules


class FrameResult(Protocol):
    """What became of a frame that was measured."""

    @property
    def failure(self) -> str:
        """Why it could not be measured, "" if it could."""

    @property
    def doubt(self) -> str:
        """What is worth saying of it."""

    @property
    def again_after(self) -> float:
        """It is measured again after so long [s], as something was not to be had; 0: it is not."""

    @property
    def is_unfinished(self) -> bool:
        """Whether more is to be made of it."""


R = TypeVar("R", bound=FrameResult)


class FrameTask(FrameRules, Protocol[R]):
    """What is done with frames: by a camera, for somebody."""

    def stands(self, path: Path) -> bool:
        """Say whether the products of a frame stand already, made of the same with the same."""

    def measure(self, path: Path) -> R:
        """Measure a frame; one that cannot be has a `failure`."""

    def tell(self, path: Path, result: R, order: float) -> bool:
        """Tell what was measured to whom it concerns; False: that was not possible."""

    def tell_again(self) -> None:
        """Tell what could not be told, if that is possible now."""

    @property
    def told(self) -> Path | None:
        """The frame that was told last, None if none was."""

    def write(self, path: Path, result: R) -> Path | None:
        """Write what was measured; returns the folder, None if there is nothing to write."""

    def troubles(self) -> Mapping[str, str]:
        """Return what may fail besides frames, each with the reason, "" if it does not."""

    def memory(self) -> Mapping[str, Any]:
        """Return what a later process must know, as plain values."""

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Take over what an earlier process knew."""


@dataclass(frozen=True)
class LiveOptions:
    """Where, when and how often; times in s.

    Attributes
    ----------
    folders : sequence of Path
        Raw folders.
    results : Path
        Folder of results; the ledger is in its folder `watch`.
    suffixes : sequence of str
        Endings of frames.
    poll, settle, patience, keep : float
        Time between two looks; how long a frame must not have changed; how long one that is not complete is
        waited for; age at which files are left alone.
    tries : int
        How often a frame is tried.
    pause : float
        Before the second try.
    veto_list : Path, optional
        File of frames to leave out.
    stale_after : float
        See `Pulse`.
    """

    folders: Sequence[Path]
    results: Path
    suffixes: Sequence[str]
    poll: float = 0.5
    settle: float = 0.5
    patience: float = 60.0
    keep: float = 2 * 86400.0
    tries: int = 3
    pause: float = 10.0
    veto_list: Path | None = None
    stale_after: float = 3600.0
