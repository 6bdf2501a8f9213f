"""What a stage knows besides its inputs: settings, instrument, and the record of its run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from visql_lib import run_record
from visql_lib.config import Settings
from visql_lib.config.units import SettingsSection
from visql_lib.instruments.model import Instrument, load_instrument
from visql_lib.run_record import RunRecord

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from visql_lib.products.registry import Stage

    Progress = Callable[[str, int], AbstractContextManager[Callable[[], None]]]

S = TypeVar("S", bound=Settings)


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
        cls, stage: Stage, settings: S, progress: Progress = no_progress, record_failure: bool = False
    ) -> Context[S]:
        """Make the context of a stage's run, and note its settings and facts in the current record.

        Raises
        ------
        ConfigError
            If the instrument's file is missing or wrong.
        """
        instrument, record = load_instrument(settings.instrument), run_record.current()
        for name in stage.settings:
            section = getattr(settings, name)
            if isinstance(section, SettingsSection) and section.recorded:
                record.use_setting(name, section)
        for name in stage.facts:
            record.use_fact(name, getattr(instrument, name))
        return cls(settings, instrument, record, progress, record_failure)
