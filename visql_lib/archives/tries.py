"""Asking again, with pauses that grow."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from visql_lib.archives.errors import PassingError

if TYPE_CHECKING:
    from tenacity import RetryCallState

log = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_PAUSE = 300.0  # s, at most, between attempts


def again(call: Callable[[], T], attempts: int, backoff: float, longest: float = LONGEST_PAUSE) -> T:
    """Call until it succeeds, or fails in a way that does not pass.

    Parameters
    ----------
    call : callable
        Raises a `PassingError` to be called again.
    attempts : int
        Calls at most.
    backoff : float
        First pause [s]; doubled each time, or longer if the server wants that.
    longest : float, optional
        Longest pause [s].
    """
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

    def pause(state: RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome else None
        wanted = failure.pause if isinstance(failure, PassingError) else 0.0
        return float(min(max(backoff * 2.0 ** min(state.attempt_number - 1, 30), wanted), longest))

    def note(state: RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        log.info("attempt %d of %d: %s", state.attempt_number, attempts, failure)

    tries = Retrying(
        stop=stop_after_attempt(attempts),
        wait=pause,
        retry=retry_if_exception_type(PassingError),
        before_sleep=note,
        reraise=True,
    )
    return tries(call)
