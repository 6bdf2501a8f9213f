"""What a stage knows besides its inputs: settings, instrument, and the record of its run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from visql_lib import run_record
from visql_lib.config import Settings
from visql_lib.config.units import SettingsSection
from visql_lib.instruments.model import Instrument, load_instrument
from visql_lib.products.failures import failure_recorded
from visql_lib.run_record import RunRecord

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from visql_lib.products.registry import Stage

    Progress = Callable[[str, int], AbstractContextManager[Callable[[], None]]]

S = TypeVar("S", bound=Settings, covariant=True)  # what works for any settings takes those of a pipeline
T = TypeVar("T", bound=Settings)


# Facts that mean nothing without others.
_WITH = {"exposure_classes": ("class_tolerance",)}


@contextmanager
def no_progress(label: str, total: int) -> Iterator[Callable[[], None]]:
    """Show no progress; see `Context`."""
    yield lambda: None


@dataclass(frozen=True)
class Context(Generic[S]):
    """What a stage knows besides its inputs.

    Parameters
    ----------
    settings : Settings
        Those of its pipeline.
    instrument : Instrument
        The facts of the instrument.
    record : RunRecord
        What the run has read and used; provenance is written from it.
    progress : callable
        Shows progress: called with a label and a total, it gives a context manager whose value
        advances it by one.
    record_failure : bool
        Whether a frame that fails gives empty tables with the reason, instead of an error.
    """

    settings: S
    instrument: Instrument
    record: RunRecord
    progress: Progress = no_progress
    record_failure: bool = False

    @classmethod
    def of(
        cls, stage: Stage, settings: T, progress: Progress = no_progress, record_failure: bool = False
    ) -> Context[T]:
        """Make the context of a stage's run, and note its settings and facts in the current record.

        Raises
        ------
        ConfigError
            If the instrument's file is missing or wrong.
        """
        return Context.using(settings, stage.settings, stage.facts, progress, record_failure)

    @classmethod
    def using(
        cls,
        settings: T,
        sections: Sequence[str],
        facts: Sequence[str] = (),
        progress: Progress = no_progress,
        record_failure: bool = False,
    ) -> Context[T]:
        """Make the context of a run that is no stage of its own, and note what it uses; see `of`."""
        instrument = load_instrument(settings.instrument)
        note_used(settings, instrument, sections, facts)
        return Context(settings, instrument, run_record.current(), progress, record_failure)

    def failures(self, meta: dict[str, Any]) -> AbstractContextManager[None]:
        """Keep the reason why a frame fails in the metadata of its tables, if the run records failures."""
        return failure_recorded(self.record_failure, meta)


def note_used(
    settings: Settings, instrument: Instrument, sections: Sequence[str], facts: Sequence[str] = ()
) -> None:
    """Note in the current record which sections of the settings and which facts a run uses.

    Of the settings only sections that change results are noted; of the facts those that the
    instrument's file has: who needs another one says so.
    """
    record = run_record.current()
    for name in sections:
        section = getattr(settings, name)
        if isinstance(section, SettingsSection) and section.recorded:
            record.use_setting(name, section)
    more = (other for name in facts for other in _WITH.get(name, ()))
    for name in (*facts, *more):
        if instrument.has(name):
            record.use_fact(name, getattr(instrument, name))
