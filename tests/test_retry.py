"""The retry policy: which failures are repeated, how often, and after which delays."""

from __future__ import annotations

import pytest

from visql_lib.archives.errors import SourceError, TransientError
from visql_lib.archives.retry import RetryPolicy

POLICY = RetryPolicy(attempts=5, first_delay=2.0, longest_delay=10.0)


class Source:
    """Raises errors in turn, then returns "data"."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = 0
        self.delays = []

    def get(self):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "data"

    def call(self, policy=POLICY, **options):
        return policy.call(self.get, sleep=self.delays.append, **options)


def failures(n, **options):
    return [TransientError(f"failure {i}", **options) for i in range(n)]


def test_delays_double_up_to_the_longest():
    source = Source(*failures(4))
    assert source.call() == "data"
    assert source.delays == [2.0, 4.0, 8.0, 10.0]


def test_the_last_error_is_raised_and_not_waited_for():
    source = Source(*failures(9))
    with pytest.raises(TransientError, match="failure 4"):
        source.call()
    assert (source.calls, len(source.delays)) == (5, 4)


def test_a_server_may_ask_for_a_longer_delay_but_not_for_any():
    source = Source(
        *failures(1, retry_after=1.0), *failures(1, retry_after=7.0), *failures(1, retry_after=1e9)
    )
    source.call()
    assert source.delays == [2.0, 7.0, 10.0]


@pytest.mark.parametrize("error", [SourceError("refused"), ValueError("a bug")])
def test_other_errors_are_not_repeated(error):
    source = Source(error)
    with pytest.raises(type(error)):
        source.call()
    assert (source.calls, source.delays) == (1, [])


def test_attempts_and_delays_start_again_after_progress():
    source = Source(*failures(6))
    progress = iter([False, False, True, False, False, False])
    assert source.call(progress=lambda _: next(progress)) == "data"
    assert source.delays == [2.0, 4.0, 2.0, 4.0, 8.0, 10.0]


def test_one_attempt_is_one():
    source = Source(*failures(1))
    with pytest.raises(TransientError):
        source.call(RetryPolicy(attempts=1))
    assert (source.calls, source.delays) == (1, [])


def test_a_delay_of_many_failures_is_a_number():
    assert RetryPolicy(first_delay=5.0).delay(100_000, TransientError("x")) == 300.0
