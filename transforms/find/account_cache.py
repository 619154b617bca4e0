"""The accounts of related records that were looked up, kept for a while in this process."""

import threading
from collections.abc import Iterable, Mapping
from typing import Final

from cachetools import TTLCache

from transforms.find.found_accounts import Found
from transforms.process import once_per_process

CACHED_RECORDS: Final = 100_000
"""At some 200 bytes each."""

CACHED_SECONDS: Final = 600.0
"""A record seldom changes its account, and an event that says so is remembered in the stream's state."""


class AccountCache:
    """Keeps the accounts of records for a while, for all threads of a process."""

    def __init__(self, max_records: int = CACHED_RECORDS, ttl_seconds: float = CACHED_SECONDS) -> None:
        self._found: TTLCache[str, Found] = TTLCache(max_records, ttl_seconds)
        self._lock = threading.Lock()

    def get(self, record_ids: Iterable[str]) -> dict[str, Found]:
        """Return what is kept of these records."""
        with self._lock:
            return {it: found for it in record_ids if (found := self._found.get(it)) is not None}

    def keep(self, found: Mapping[str, Found]) -> None:
        """Keep accounts; a record without an account is not kept, since it may get one."""
        with self._lock:
            self._found.update({it: one for it, one in found.items() if one.account_id})


@once_per_process
def shared_account_cache(scope: str) -> AccountCache:
    """Return this process's cache of a scope, which names the mirror."""
    del scope
    return AccountCache()
