"""Hashes and streams of a Redis server, told and asked within a time limit; nothing of what they mean.

A server that is down or hangs costs no more than that limit, and nothing is sent to it before it has
answered: an update that waits in the buffers of a stopped server would be carried out when it goes on,
perhaps after a later one. So each exchange has a connection of its own, and begins with a question.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from visql_lib.archives.errors import SourceError, TransientError
from visql_lib.errors import ConfigError

if TYPE_CHECKING:
    from redis import Redis

T = TypeVar("T")
Value = str | int | float

_STEPS = 2  # time limits of one step that an exchange may take in all


class RedisHash:
    """A Redis server, of which hashes are set and read, and streams get entries.

    Parameters
    ----------
    host : str
        Name or address.
    port, db : int, optional
        Port, and number of the data base.
    timeout : float, optional
        Time limit of connecting and of each answer [s]; a whole exchange gets twice that, finding the
        address of the host included.

    Raises
    ------
    ConfigError
        If the package ``redis`` is not installed.
    """

    def __init__(self, host: str, port: int = 6379, db: int = 0, timeout: float = 0.5) -> None:
        try:
            from redis import Redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise ConfigError("a Redis server needs the package redis: pip install 'visql[redis]'") from None
        self.name = f"{host}:{port}"
        self._limit = _STEPS * timeout
        self._at_work: threading.Thread | None = None
        self._client: Redis = Redis(
            host=host,
            port=port,
            db=db,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            protocol=2,  # that of all servers
            decode_responses=True,
            encoding_errors="replace",
        )

    def set(
        self,
        key: str,
        values: Mapping[str, object],
        stream: str = "",
        entries: Sequence[Mapping[str, object]] = (),
        length: int = 10000,
    ) -> None:
        """Set fields of a hash in one command, and add entries to a stream that is kept short.

        Parameters
        ----------
        key : str
            Of the hash.
        values : mapping
            Its fields; none: the hash stays as it is. Numbers of numpy and booleans become plain ones.
        stream : str, optional
            Key of the stream.
        entries : sequence of mapping, optional
            What is added to it.
        length : int, optional
            Entries the stream keeps, about.

        Raises
        ------
        TransientError
            If the server does not answer in time. It may have carried the update out.
        SourceError
            If it refuses.
        """
        plain = {name: built_in(value) for name, value in values.items()}
        added = [{name: built_in(value) for name, value in entry.items()} for entry in entries]

        def send(client: Redis) -> None:
            if plain:
                client.hset(key, mapping=plain)  # type: ignore[arg-type, unused-ignore]
            if added:
                with client.pipeline(transaction=False) as pipe:
                    for entry in added:
                        pipe.xadd(stream, entry, maxlen=length, approximate=True)  # type: ignore[arg-type, unused-ignore]
                    pipe.execute()

        self._exchange(send)

    def get(self, key: str) -> dict[str, str]:
        """Read a hash; one that does not exist is empty. Errors are those of `set`."""
        return self._exchange(
            lambda client: {str(k): str(v) for k, v in _mapping(client.hgetall(key)).items()}
        )

    def field(self, key: str, name: str) -> str | None:
        """Read one field of a hash, None if it is not there. Errors are those of `set`."""
        found = self._exchange(lambda client: client.hget(key, name))
        return None if found is None else str(found)

    def _exchange(self, work: Callable[[Redis], T]) -> T:
        """Let the server answer, then work with it; in a thread, as finding an address has no time limit."""
        from redis.exceptions import ConnectionError, RedisError, TimeoutError

        if self._at_work is not None and self._at_work.is_alive():
            raise TransientError(f"{self.name}: still waits for the answer to what was sent before")
        found: list[T] = []
        failed: list[Exception] = []

        def run() -> None:
            try:
                self._client.ping()
                found.append(work(self._client))
            except (RedisError, OSError, UnicodeError) as error:  # the last one: of an impossible host
                failed.append(error)
            finally:
                self._client.connection_pool.disconnect()

        self._at_work = threading.Thread(target=run, name="redis", daemon=True)
        self._at_work.start()
        self._at_work.join(self._limit)
        if found:
            return found[0]
        if not failed:
            raise TransientError(f"{self.name}: no answer within {self._limit:g} s")
        said = next(iter(str(failed[0]).splitlines()), "") or type(failed[0]).__name__
        lasting = isinstance(failed[0], RedisError) and not isinstance(
            failed[0], ConnectionError | TimeoutError
        )
        raise (SourceError if lasting else TransientError)(f"{self.name}: {said}") from failed[0]


def _mapping(answer: Any) -> Mapping[Any, Any]:
    """Narrow what the client declares for both its plain and its asynchronous form."""
    return answer if isinstance(answer, Mapping) else {}


def built_in(value: object) -> Value:
    """Return a value as text or as a plain number; a boolean becomes 0 or 1.

    Clients write other numbers as Python shows them: ``np.float64(1.5)``.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if isinstance(value, np.generic):
        value = value.item()
    for kind in (str, int, float):
        if isinstance(value, kind):  # also booleans, and other kinds of these
            return kind(value)
    raise TypeError(f"{value!r} is neither text nor a number")
