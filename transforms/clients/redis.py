"""Redis, at its edge: the one module that imports redis, and maps its exceptions.

A cache that fails costs a query, never a change: no error leaves this module, and a Redis that is down costs
microseconds, since a circuit stays open meanwhile. Its URL can carry a password, so that options name where the URL is
kept, and no log or error quotes it.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from transforms.clients.circuit import CircuitBreaker, CircuitOpen
from transforms.clients.secrets import SecretUnavailable, is_secret_name, read_secret

CALL_SECONDS: Final = 0.25
"""For each wait for Redis: a context query takes longer than this, so that more would not pay."""

_FAILURES_TO_OPEN: Final = 2
_RESET_SECONDS: Final = 10.0
_SCHEMES: Final = frozenset({"redis", "rediss"})

T = TypeVar("T")
Connect = Callable[[str], redis.Redis]


class RedisUnavailable(Exception):
    """Redis did not answer, or nobody knows where it is."""


@dataclass(frozen=True)
class RedisSettings:
    """Where Redis is.

    Args:
        location: redis:// or rediss:// with a host and no password; or the name of an environment variable (REDIS_URL)
            or of a version in Secret Manager (projects/P/secrets/S/versions/latest) that holds a URL with one.
    """

    location: str

    def __post_init__(self) -> None:
        """Refuse what is no location, and a password where everybody can read it; the message never quotes it.

        Raises:
            ValueError: It is such.
        """
        if is_secret_name(self.location):
            return
        try:
            url = urlsplit(self.location)
            is_open = url.scheme in _SCHEMES and url.hostname and "password=" not in url.query.lower()
            has_secret = url.password is not None
        except ValueError:
            is_open = has_secret = False
        if has_secret:
            raise ValueError("redis_url has a password: name the variable or the secret that holds the URL instead")
        if not is_open:
            raise ValueError("redis_url: redis://HOST:PORT/0, a variable's name, or projects/P/secrets/S/versions/V")

    def read_url(self) -> str:
        """Return the URL.

        Raises:
            RedisUnavailable: It can't be read where it is kept.
        """
        if "://" in self.location:
            return self.location
        if "/" not in self.location and not os.environ.get(self.location):
            raise RedisUnavailable(f"the environment variable {self.location} is not set")
        try:
            return read_secret(self.location)
        except SecretUnavailable as error:
            raise RedisUnavailable(str(error)) from None


def connect(url: str) -> redis.Redis:
    """Return a client that waits for nothing long, and tries nothing twice.

    Raises:
        ValueError: That is no URL of a Redis.
    """
    return redis.Redis.from_url(
        url, socket_connect_timeout=CALL_SECONDS, socket_timeout=CALL_SECONDS, retry=Retry(NoBackoff(), 0)
    )


class RedisStore:
    """Bytes by key in Redis, for all the threads of a process; nothing is found, and nothing kept, while it is down."""

    name: Final = "redis"

    def __init__(self, settings: RedisSettings, ttl_seconds: float, connecting: Connect = connect) -> None:
        self._settings = settings
        self._ttl_ms = max(1, int(ttl_seconds * 1000))
        self._connecting = connecting
        self._client: redis.Redis | None = None
        self._circuit = CircuitBreaker(
            "Redis", RedisUnavailable, failures=_FAILURES_TO_OPEN, reset_seconds=_RESET_SECONDS
        )

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return what is kept under the keys, in one call."""
        try:
            values = self._circuit.call(lambda: self._asked(lambda client: client.mget(keys)))
        except (RedisUnavailable, CircuitOpen):
            return {}
        return {key: value for key, value in zip(keys, values, strict=True) if isinstance(value, bytes)}

    def set_many(self, entries: Mapping[str, bytes]) -> None:
        """Keep values under their keys for as long as they may live, in one call."""

        def write(client: redis.Redis) -> None:
            with client.pipeline(transaction=False) as pipeline:
                for key, value in entries.items():
                    pipeline.set(key, value, px=self._ttl_ms)
                pipeline.execute()

        try:
            self._circuit.call(lambda: self._asked(write))
        except (RedisUnavailable, CircuitOpen):
            return

    def ping(self) -> None:
        """Ask whether it answers.

        Raises:
            RedisUnavailable: It does not, or nobody knows where it is.
        """
        self._asked(lambda client: client.ping())

    def _asked(self, ask: Callable[[redis.Redis], T]) -> T:
        try:
            return ask(self._connected())
        except redis.RedisError as error:
            # Its own text can quote the URL.
            raise RedisUnavailable(f"Redis does not answer ({type(error).__name__})") from None

    def _connected(self) -> redis.Redis:
        if self._client is None:
            try:
                self._client = self._connecting(self._settings.read_url())
            except ValueError:
                raise RedisUnavailable("what is kept as Redis's URL is none") from None
        return self._client
