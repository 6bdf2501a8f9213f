"""Repeating requests that may succeed later."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from visql_lib.archives.errors import TransientError

if TYPE_CHECKING:
    from tenacity import RetryCallState

log = logging.getLogger(__name__)

T = TypeVar("T")

_MOST_DOUBLINGS = 30  # of a delay: enough for any longest delay, and no overflow


class RetrySettings(Protocol):
    """The settings of a retry policy, a part of those of Gaia, GOES and the archive of raw frames."""

    @property
    def timeout(self) -> float:
        """Longest silence [s] of a server."""

    @property
    def attempts(self) -> int:
        """Attempts at most."""

    @property
    def backoff(self) -> float:
        """Delay [s] before the second attempt."""


def no_progress(error: TransientError) -> bool:
    """Count every failed attempt."""
    return False


@dataclass(frozen=True)
class RetryPolicy:
    """Rules for repeating a request: attempts, delays between them, and the time for one attempt.

    Attributes
    ----------
    attempts : int
        Attempts at most.
    first_delay : float
        Delay [s] before the second attempt.
    backoff : float
        Factor by which each further delay is longer.
    longest_delay : float
        Longest delay [s], also where a server asks for more (``Retry-After``).
    timeout : float
        A server that sends nothing for so long [s] has failed.
    deadline : float or None
        Time [s] for one attempt as a whole; None: as long as data keep coming.
    """

    attempts: int = 5
    first_delay: float = 5.0
    backoff: float = 2.0
    longest_delay: float = 300.0
    timeout: float = 60.0
    deadline: float | None = None

    @classmethod
    def from_settings(cls, settings: RetrySettings, deadline: float | None = None) -> Self:
        """Build the policy of a section of the settings."""
        return cls(settings.attempts, settings.backoff, timeout=settings.timeout, deadline=deadline)

    def call(
        self,
        function: Callable[[], T],
        *,
        progress: Callable[[TransientError], bool] = no_progress,
        sleep: Callable[[float], Any] = time.sleep,
    ) -> T:
        """Call a function until it succeeds or fails for good.

        Parameters
        ----------
        function : callable
            Raises a `TransientError` where another attempt may succeed.
        progress : callable, optional
            Called after each failed attempt with its error; where it returns true, the
            attempts are counted from the start.
        sleep : callable, optional
            Waits for so long [s].

        Raises
        ------
        TransientError
            That of the last attempt.
        """
        from tenacity import Retrying, retry_if_exception_type

        failures = 0
        states: list[RetryCallState] = []

        def count(state: RetryCallState) -> None:
            nonlocal failures
            error = _error_of(state)
            failures = 1 if progress(error) else failures + 1
            log.info("attempt %d of %d: %s", failures, self.attempts, error)

        retrying = Retrying(
            retry=retry_if_exception_type(TransientError),
            before=states.append,
            after=count,
            wait=lambda state: self.delay(failures, _error_of(state)),
            stop=lambda _: failures >= self.attempts,
            sleep=sleep,
            reraise=True,
        )
        try:
            return retrying(function)
        finally:  # it holds the error, whose traceback holds it: responses of 256 MB would live on
            states[-1].outcome = None

    def delay(self, failures: int, error: TransientError) -> float:
        """Compute the delay [s] after so many failed attempts, the last with this error."""
        delay = self.first_delay * self.backoff ** min(failures - 1, _MOST_DOUBLINGS)
        return min(max(delay, error.retry_after), self.longest_delay)


def _error_of(state: RetryCallState) -> TransientError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, TransientError)  # nothing else is retried
    return error
