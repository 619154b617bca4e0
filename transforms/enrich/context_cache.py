"""Cache of account contexts, in the process and in Redis.

A lookup follows a change of the account, so an entry that was read before the change reached the mirror is out of date.
Each entry has the time at which it was read, and each change a time after which it must have been read. So a change
invalidates its account's entry in every process and in Redis without any message; see docs/adr/030.
"""

import datetime as dt
import hashlib
import struct
import threading
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from cachetools import TTLCache
from pydantic import ValidationError

from schemas.account_context import AccountContext
from schemas.change_event import AccountChange
from transforms.clients.redis import RedisSettings, RedisStore
from transforms.process import once_per_process

COMMIT_GRANULARITY: Final = dt.timedelta(seconds=1)
"""commitTimestamp has whole seconds, and may differ by one within a transaction."""

LARGEST_CONTEXT_BYTES: Final = 16 * 1024 * 1024
"""As JSON. A larger context is read from the mirror each time."""

_READ_AT: Final = struct.Struct(">q")


class Store(Protocol):
    """Keeps entries: bytes by key, for a limited time."""

    @property
    def name(self) -> str:
        """Name of the store in counters."""

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the entries of these keys, as far as they are kept."""

    def set_many(self, entries: Mapping[str, bytes]) -> None:
        """Keep entries under their keys."""


class ProcessStore:
    """Keeps entries in this process, for all its threads."""

    name: Final = "process"

    def __init__(self, ttl_seconds: float, max_bytes: int) -> None:
        self._entries: TTLCache[str, bytes] = TTLCache(max_bytes, ttl_seconds, getsizeof=len)
        self._lock = threading.Lock()

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the entries of these keys, as far as they are kept."""
        with self._lock:
            return {key: value for key in keys if (value := self._entries.get(key)) is not None}

    def set_many(self, entries: Mapping[str, bytes]) -> None:
        """Keep entries under their keys; the least recently used ones are evicted."""
        with self._lock:
            for key, value in entries.items():
                if len(value) <= self._entries.maxsize:
                    self._entries[key] = value


@dataclass(frozen=True)
class CacheSettings:
    """How long entries live, how far the mirror may lag behind Salesforce, and the shared Redis, if any."""

    ttl_seconds: float = 600.0
    mirror_lag_seconds: float = 60.0
    max_process_bytes: int = 64_000_000
    redis: RedisSettings | None = None

    def __post_init__(self) -> None:
        if self.ttl_seconds < 0 or self.mirror_lag_seconds < 0:
            raise ValueError("expected ttl_seconds and mirror_lag_seconds of 0 or more")


@dataclass
class Found:
    """The contexts that a cache has of some accounts, and how many came from which store."""

    contexts: dict[str, AccountContext] = field(default_factory=dict)
    hits: dict[str, int] = field(default_factory=dict)


class ContextCache:
    """Keeps contexts by account in several stores, the nearest first."""

    def __init__(self, stores: Sequence[Store], scope: str, settings: CacheSettings) -> None:
        self._stores = stores
        self._prefix = f"account-context:{cache_generation(scope)}:"
        self._mirror_lag = dt.timedelta(seconds=settings.mirror_lag_seconds)
        self._ttl = dt.timedelta(seconds=settings.ttl_seconds)

    def find(self, changes: Iterable[AccountChange], now: dt.datetime) -> Found:
        """Return the contexts that were read late enough for each account's changes, and not too long ago."""
        # A store counts an entry's time to live from when the entry reached it, which may be later than its reading.
        oldest_at_all = now - self._ttl
        wanted = {
            account_id: max(time, oldest_at_all) for account_id, time in read_after(changes, self._mirror_lag).items()
        }
        found = Found()
        for place, store in enumerate(self._stores):
            if not wanted:
                break
            entries = store.get_many([self._key(account_id) for account_id in wanted])
            hits = {}
            for account_id, oldest in list(wanted.items()):
                entry = entries.get(self._key(account_id))
                context = decode_entry(entry, account_id, oldest) if entry else None
                if entry and context:
                    found.contexts[account_id] = context
                    hits[self._key(account_id)] = entry
                    del wanted[account_id]
            found.hits[store.name] = len(hits)
            if hits:
                # The nearer stores lack these entries, or have older ones.
                for nearer in self._stores[:place]:
                    nearer.set_many(hits)
        return found

    def keep(self, contexts: Mapping[str, AccountContext], read_at: dt.datetime) -> None:
        """Keep contexts; `read_at` is a time at or before the query of the mirror."""
        entries = {self._key(account_id): encode_entry(context, read_at) for account_id, context in contexts.items()}
        if entries:
            for store in self._stores:
                store.set_many(entries)

    def _key(self, account_id: str) -> str:
        return self._prefix + account_id


def read_after(changes: Iterable[AccountChange], mirror_lag: dt.timedelta) -> dict[str, dt.datetime]:
    """Return for each account the time after which a reading of the mirror contains its newest change."""
    times: dict[str, dt.datetime] = {}
    for change in changes:
        time = change.row_order.committed_at + COMMIT_GRANULARITY + mirror_lag
        times[change.account_id] = max(time, times.get(change.account_id, time))
    return times


def cache_generation(scope: str) -> str:
    """Return the generation that keys begin with: it differs by mirror, bounds, and the context's models."""
    identity = f"{scope}\x1f{AccountContext.model_json_schema()}"
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def encode_entry(context: AccountContext, read_at: dt.datetime) -> bytes:
    """Return an entry: eight bytes of time, and the context's JSON, deflated to some 30 %."""
    return _READ_AT.pack(int(read_at.timestamp() * 1000)) + zlib.compress(context.model_dump_json().encode())


def decode_entry(entry: bytes, account_id: str, oldest: dt.datetime) -> AccountContext | None:
    """Return the context of an entry; None if it was read before `oldest`, or is not a valid entry of the account."""
    try:
        (read_at,) = _READ_AT.unpack_from(entry)
        if read_at < oldest.timestamp() * 1000:
            return None
        context = AccountContext.model_validate_json(_inflated(entry[_READ_AT.size :]))
    except (struct.error, zlib.error, ValidationError):
        return None
    return context if context.profile.account_id == account_id else None


def _inflated(deflated: bytes) -> bytes:
    """Return inflated bytes, up to the limit: Redis is shared, and few bytes can inflate to a worker's whole memory.

    Raises:
        zlib.error: The bytes are not deflated ones, are cut off, or inflate to more than an entry may have.
    """
    inflater = zlib.decompressobj()
    text = inflater.decompress(deflated, LARGEST_CONTEXT_BYTES)
    if not inflater.eof:
        raise zlib.error("the entry is cut off or too large")
    return text


@once_per_process
def shared_cache(settings: CacheSettings, scope: str) -> ContextCache:
    """Return this process's cache of a scope, which names the mirror and the bounds of the contexts."""
    stores: list[Store] = [ProcessStore(settings.ttl_seconds, settings.max_process_bytes)]
    if settings.redis:
        stores.append(RedisStore(settings.redis, settings.ttl_seconds))
    return ContextCache(stores, scope, settings)
