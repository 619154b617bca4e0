"""Redis as the second cache tier: entries, outages, and a password that is never shown."""

import logging
import traceback
from typing import Any

import fakeredis
import pytest
import redis

from tests.fixtures.planted_secrets import REDIS_PASSWORD
from transforms.clients.redis import RedisSettings, RedisStore, RedisUnavailable, connect

SETTINGS = RedisSettings("redis://cache.internal:6379/0")


def _store(server: fakeredis.FakeServer, ttl_seconds: float = 60) -> RedisStore:
    return RedisStore(SETTINGS, ttl_seconds, lambda _url: fakeredis.FakeRedis(server=server))


def test_processes_share_entries() -> None:
    """Values are returned unchanged; keys without a value are missing."""
    server = fakeredis.FakeServer()
    _store(server).set_many({"a": b"\x00\xff", "b": b""})
    assert _store(server).get_many(["a", "b", "c"]) == {"a": b"\x00\xff", "b": b""}


def test_entries_expire() -> None:
    """Redis has their time to live."""
    server = fakeredis.FakeServer()
    _store(server, ttl_seconds=90).set_many({"a": b"1"})
    assert 89_000 < fakeredis.FakeRedis(server=server).pttl("a") <= 90_000


class _Dead:
    """A client of which every call fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.calls = 0

    def __call__(self, _url: str) -> Any:
        return self

    def mget(self, _keys: object) -> Any:
        self.calls += 1
        raise self.error

    def pipeline(self, *, transaction: bool) -> Any:
        return self.mget(transaction)


@pytest.mark.parametrize(
    "error",
    [
        redis.ConnectionError("refused"),
        redis.TimeoutError("timed out"),
        redis.AuthenticationError("invalid"),
        redis.ResponseError("OOM command not allowed"),
        redis.exceptions.BusyLoadingError("loading"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failing_redis_finds_nothing_and_is_soon_not_called(error: Exception) -> None:
    """The store raises no error, and makes no call after the second failure."""
    dead = _Dead(error)
    store = RedisStore(SETTINGS, 60, dead)
    for _ in range(10):
        assert store.get_many(["a"]) == {}
        store.set_many({"a": b"1"})
    assert dead.calls == 2


def test_a_fault_of_this_program_is_not_hidden() -> None:
    """Only errors of Redis count as an outage."""
    with pytest.raises(AttributeError):
        RedisStore(SETTINGS, 60, _Dead(AttributeError("ours"))).get_many(["a"])


@pytest.mark.parametrize(
    "location",
    [
        f"redis://:{REDIS_PASSWORD}@cache:6379/0",
        f"rediss://user:{REDIS_PASSWORD}@cache:6379/0",
        f"redis://cache:6379/0?password={REDIS_PASSWORD}",
        f"https://cache/{REDIS_PASSWORD}",
        REDIS_PASSWORD,
        "",
        "redis://",
        "redis://[::1",
    ],
)
def test_a_password_in_an_option_is_refused(location: str) -> None:
    """The error says where to put it, and does not quote it."""
    with pytest.raises(ValueError, match=r"^redis_url") as refusal:
        RedisSettings(location)
    assert REDIS_PASSWORD not in str(refusal.value)


def test_a_url_with_a_password_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings hold the name of the variable only."""
    monkeypatch.setenv("CACHE_REDIS_URL", f"redis://:{REDIS_PASSWORD}@cache:6379/0")
    settings = RedisSettings("CACHE_REDIS_URL")
    assert settings.read_url() == f"redis://:{REDIS_PASSWORD}@cache:6379/0"
    assert REDIS_PASSWORD not in repr(settings)


def test_an_unset_variable_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store finds nothing; the error names the variable."""
    monkeypatch.delenv("CACHE_REDIS_URL", raising=False)
    with pytest.raises(RedisUnavailable, match="CACHE_REDIS_URL"):
        RedisSettings("CACHE_REDIS_URL").read_url()
    assert RedisStore(RedisSettings("CACHE_REDIS_URL"), 60).get_many(["a"]) == {}


@pytest.mark.parametrize("url", [f"redis://:{REDIS_PASSWORD}@127.0.0.1:1/0", f"nonsense:{REDIS_PASSWORD}"])
def test_the_password_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], url: str
) -> None:
    """Neither the log at any level nor a traceback has it, whether Redis is down or the URL is invalid."""
    monkeypatch.setenv("CACHE_REDIS_URL", url)
    store = RedisStore(RedisSettings("CACHE_REDIS_URL"), 60)
    shown = [repr(store)]
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            assert store.get_many(["a"]) == {}
        with pytest.raises(RedisUnavailable) as refusal:
            store._asked(lambda client: client.ping())
    shown += [caplog.text, *capfd.readouterr(), *traceback.format_exception(refusal.value)]
    assert "circuit is open" in "\n".join(shown)
    assert REDIS_PASSWORD not in "\n".join(shown)


def test_waits_are_short_and_calls_are_not_retried() -> None:
    """Creating a client makes no call."""
    options = connect("redis://127.0.0.1:1/0").connection_pool.connection_kwargs
    assert 0 < options["socket_timeout"] <= 0.5
    assert 0 < options["socket_connect_timeout"] <= 0.5
    assert options["retry"].get_retries() == 0
