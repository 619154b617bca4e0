"""Redis as a cache. Alone imports redis, and maps its exceptions.

A failing cache costs queries and no change: the store raises no error, and while Redis is down a circuit breaker keeps
the cost of a lookup at microseconds. A URL can hold a password, so options name where the URL is kept, and no log or
error quotes it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from transforms.clients.circuit import CircuitBreaker, CircuitOpen
from transforms.clients.secret_reader import read_secret
from transforms.clients.secrets import SecretUnavailable, is_secret_name

CALL_SECONDS: Final = 0.25
"""Timeout of each wait for Redis. A context query takes longer, so a longer wait would not pay off."""

_FAILURES_TO_OPEN: Final = 2
_RESET_SECONDS: Final = 10.0
_SCHEMES: Final = frozenset({"redis", "rediss"})

T = TypeVar("T")
Connect = Callable[[str], redis.Redis]


class RedisUnavailable(Exception):
    """Redis did not answer, or its URL could not be read."""


@dataclass(frozen=True)
class RedisSettings:
    """Where Redis is.

    Args:
        location: redis:// or rediss:// with a host and no password; or the name of an environment variable (REDIS_URL)
            or of a version in Secret Manager (projects/P/secrets/S/versions/latest) that holds a URL with one.
    """

    location: str

    def __post_init__(self) -> None:
        """Check the location.

        Raises:
            ValueError: It is not a location, or holds a password. The message does not quote it.
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
            raise ValueError(
                "redis_url: expected redis://HOST:PORT/0, a variable's name, or projects/…/secrets/…/versions/…"
            )

    def read_url(self) -> str:
        """Return the URL.

        Raises:
            RedisUnavailable: The variable or secret can't be read.
        """
        if "://" in self.location:
            return self.location
        try:
            return read_secret(self.location)
        except SecretUnavailable as error:
            raise RedisUnavailable(str(error)) from None


def connect(url: str) -> redis.Redis:
    """Return a client with short timeouts and without retries.

    Raises:
        ValueError: It is not a URL of Redis.
    """
    return redis.Redis.from_url(
        url, socket_connect_timeout=CALL_SECONDS, socket_timeout=CALL_SECONDS, retry=Retry(NoBackoff(), 0)
    )


class RedisStore:
    """Bytes by key in Redis, for all the threads of a process; while Redis is down, it finds and keeps nothing."""

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
        """Return the values of the keys that exist, in one call."""
        try:
            values = self._circuit.call(lambda: self._asked(lambda client: client.mget(keys)))
        except (RedisUnavailable, CircuitOpen):
            return {}
        return {key: value for key, value in zip(keys, values, strict=True) if isinstance(value, bytes)}

    def set_many(self, entries: Mapping[str, bytes]) -> None:
        """Store values under their keys with the time to live, in one call."""

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
        """Check that Redis answers.

        Raises:
            RedisUnavailable: It does not, or its URL could not be read.
        """
        self._asked(lambda client: client.ping())

    def _asked(self, ask: Callable[[redis.Redis], T]) -> T:
        try:
            return ask(self._connected())
        except redis.RedisError as error:
            # The vendor's text can quote the URL.
            raise RedisUnavailable(f"Redis does not answer ({type(error).__name__})") from None

    def _connected(self) -> redis.Redis:
        if self._client is None:
            try:
                self._client = self._connecting(self._settings.read_url())
            except ValueError:
                raise RedisUnavailable("the variable or secret does not hold a URL of Redis") from None
        return self._client
