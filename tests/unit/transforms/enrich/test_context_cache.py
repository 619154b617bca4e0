"""The context cache: which entries may be used, from which store, and their size."""

import datetime as dt
import zlib
from typing import Any

import fakeredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.account_context import AccountContext
from schemas.change_event import AccountChange, ChangeOrder
from tests.fixtures.changes import COMMITTED_AT, account_id, change, context
from transforms.clients.redis import RedisSettings, RedisStore
from transforms.enrich.context_cache import (
    COMMIT_GRANULARITY,
    LARGEST_CONTEXT_BYTES,
    CacheSettings,
    ContextCache,
    ProcessStore,
    cache_generation,
    decode_entry,
    encode_entry,
)

LAG = dt.timedelta(seconds=60)
SETTINGS = CacheSettings(ttl_seconds=600, mirror_lag_seconds=LAG.total_seconds())
LONG_AFTER = COMMITTED_AT + dt.timedelta(minutes=5)


def _cache(*stores: Any, scope: str = "crm") -> ContextCache:
    return ContextCache(stores or (ProcessStore(600, 1_000_000),), scope, SETTINGS)


def _served(cache: ContextCache, *changes: AccountChange, now: dt.datetime = LONG_AFTER) -> set[str]:
    return set(cache.find(changes, now).contexts)


def test_an_entry_read_after_the_change_is_used() -> None:
    """A redelivery, a replay, or a late event of the same account needs no second query, and gets the same context."""
    cache = _cache()
    cache.keep({account_id(1): context(1)}, read_at=LONG_AFTER)
    found = cache.find([change(1), change(2)], LONG_AFTER)
    assert found.contexts == {account_id(1): context(1)}
    assert found.hits == {"process": 1}


def test_a_newer_change_invalidates_its_accounts_entry_alone() -> None:
    """An entry read before the change's commit would lack it; other accounts' entries stay valid."""
    cache = _cache()
    cache.keep({account_id(number): context(number) for number in (1, 2)}, read_at=LONG_AFTER)
    newer = change(1, committed_at=LONG_AFTER + dt.timedelta(seconds=1))
    assert _served(cache, newer, change(2)) == {account_id(2)}


def test_a_late_change_needs_a_context_of_after_the_change_that_it_follows() -> None:
    """An entry that was read in between would lack the newer change, whose row the late one's replaces."""
    cache = _cache()
    cache.keep({account_id(1): context(1)}, read_at=LONG_AFTER)
    late = change(1, scored_as_of=ChangeOrder(LONG_AFTER + dt.timedelta(seconds=1), 2))
    assert _served(cache, late) == set()


def test_the_newest_change_of_a_batch_decides() -> None:
    """In any order of two changes of an account."""
    cache = _cache()
    cache.keep({account_id(1): context(1)}, read_at=LONG_AFTER)
    newer = change(1, event_id="b" * 32, committed_at=LONG_AFTER)
    assert _served(cache, change(1), newer) == _served(cache, newer, change(1)) == set()


@given(
    read=st.timedeltas(dt.timedelta(minutes=-10), dt.timedelta(minutes=10)),
    lag=st.integers(0, 300),
    asked=st.timedeltas(dt.timedelta(0), dt.timedelta(minutes=20)),
)
def test_no_entry_is_used_that_can_lack_the_change(read: dt.timedelta, lag: int, asked: dt.timedelta) -> None:
    """An entry is used if it was read later than commit and lag, and within its time to live."""
    settings = CacheSettings(ttl_seconds=600, mirror_lag_seconds=lag)
    cache = ContextCache([ProcessStore(600, 1_000_000)], "crm", settings)
    read_at = COMMITTED_AT + read
    now = read_at + asked
    cache.keep({account_id(1): context(1)}, read_at=read_at)
    # Entries tell milliseconds.
    read_at = read_at.replace(microsecond=read_at.microsecond // 1000 * 1000)
    is_late_enough = read_at >= COMMITTED_AT + COMMIT_GRANULARITY + dt.timedelta(seconds=lag)
    is_young_enough = read_at >= now - dt.timedelta(seconds=600)
    assert bool(_served(cache, change(1), now=now)) == (is_late_enough and is_young_enough)


def test_redis_serves_what_another_process_read() -> None:
    """A new process finds the entry in Redis, and the next time in its own store."""
    server = fakeredis.FakeServer()

    def process() -> ContextCache:
        redis = RedisStore(RedisSettings("redis://cache"), 600, lambda _url: fakeredis.FakeRedis(server=server))
        return _cache(ProcessStore(600, 1_000_000), redis)

    process().keep({account_id(1): context(1)}, read_at=LONG_AFTER)
    second = process()
    assert second.find([change(1)], LONG_AFTER).hits == {"process": 0, "redis": 1}
    assert second.find([change(1)], LONG_AFTER).hits == {"process": 1}


def test_a_newer_entry_in_redis_replaces_an_older_one_in_the_process() -> None:
    """Another worker may have read the account since."""
    near, far = ProcessStore(600, 1_000_000), ProcessStore(600, 1_000_000)
    _cache(near).keep({account_id(1): context(1)}, read_at=COMMITTED_AT)
    newer = context(1, emails=())
    _cache(far).keep({account_id(1): newer}, read_at=LONG_AFTER)
    assert _cache(near, far).find([change(1)], LONG_AFTER).contexts == {account_id(1): newer}
    assert _cache(near).find([change(1)], LONG_AFTER).contexts == {account_id(1): newer}


def test_an_entrys_age_counts_from_its_reading() -> None:
    """Also if it reached a store later: a store's own time to live begins then."""
    near, far = ProcessStore(600, 1_000_000), ProcessStore(600, 1_000_000)
    _cache(far).keep({account_id(1): context(1)}, read_at=LONG_AFTER)
    cache = _cache(near, far)
    assert _served(cache, change(1), now=LONG_AFTER + dt.timedelta(seconds=599)) == {account_id(1)}
    assert _served(cache, change(1), now=LONG_AFTER + dt.timedelta(seconds=601)) == set()


def test_another_mirror_or_other_bounds_have_entries_of_their_own() -> None:
    """A context with a lookback of a month does not serve one of a year."""
    store = ProcessStore(600, 1_000_000)
    _cache(store, scope="crm month").keep({account_id(1): context(1)}, read_at=LONG_AFTER)
    assert _served(_cache(store, scope="crm year"), change(1)) == set()
    assert cache_generation("a") != cache_generation("b")


def test_the_process_store_is_bounded() -> None:
    """Old entries are evicted; one that is larger than the store is not kept."""
    store = ProcessStore(600, 100)
    store.set_many({str(number): b"x" * 40 for number in range(10)})
    assert len(store.get_many([str(number) for number in range(10)])) == 2
    store.set_many({"large": b"x" * 101})
    assert store.get_many(["large"]) == {}


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"\x00" * 4,
        encode_entry(context(1), LONG_AFTER)[:8],
        encode_entry(context(1), LONG_AFTER)[:-5],
        encode_entry(context(1), LONG_AFTER)[:8] + b"no zlib",
        encode_entry(context(2), LONG_AFTER),
        b"\xff" * 200,
    ],
    ids=["empty", "short", "no context", "cut off", "not deflated", "another account's", "noise"],
)
def test_an_invalid_entry_is_a_miss(entry: bytes) -> None:
    """Whatever Redis holds under a key, the change is looked up, and no account gets another's context."""
    assert decode_entry(entry, account_id(1), COMMITTED_AT) is None


def test_an_entry_that_inflates_without_end_is_a_miss() -> None:
    """Sixteen kilobytes that inflate to as many megabytes take no more memory than an entry may."""
    sound = context(1).model_dump_json().encode()
    read_at = encode_entry(context(1), LONG_AFTER)[:8]
    padded = read_at + zlib.compress(sound + b" " * 1024)
    bomb = read_at + zlib.compress(sound + b" " * LARGEST_CONTEXT_BYTES)
    assert decode_entry(padded, account_id(1), COMMITTED_AT) == context(1)
    assert decode_entry(bomb, account_id(1), COMMITTED_AT) is None


@given(st.text(max_size=200), st.floats(allow_nan=False, allow_infinity=False))
def test_a_context_comes_back_as_it_was(text: str, revenue: float) -> None:
    """Every value survives, and so does the context's hash."""
    text = text.encode("utf-8", "replace").decode()
    original = context(1)
    profile = original.profile.model_copy(update={"industry": text, "annual_revenue": revenue})
    kept = original.model_copy(update={"profile": profile})
    assert decode_entry(encode_entry(kept, LONG_AFTER), account_id(1), COMMITTED_AT) == AccountContext.model_validate(
        kept
    )


@pytest.mark.parametrize(("ttl_seconds", "mirror_lag_seconds"), [(-1, 0), (0, -1)])
def test_impossible_settings_are_refused(ttl_seconds: float, mirror_lag_seconds: float) -> None:
    """Negative times are refused."""
    with pytest.raises(ValueError, match="expected ttl_seconds"):
        CacheSettings(ttl_seconds=ttl_seconds, mirror_lag_seconds=mirror_lag_seconds)
