"""Objects that a process makes once and all its threads share: connections, caches, counts.

A worker has a DoFn for each thread, and the DirectRunner makes one for each bundle (docs/adr/003).
"""

import functools
import threading
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

_CACHE_CLEARERS: Final[list[Callable[[], None]]] = []


def once_per_process(make: Callable[_P, _T]) -> Callable[_P, _T]:
    """Keep what a function returns, by its arguments, for as long as the process lives.

    Threads that call at the same time with the same arguments get one object; functools.cache alone would make several.
    """
    cached, lock = functools.cache(make), threading.Lock()
    _CACHE_CLEARERS.append(cached.cache_clear)

    @functools.wraps(make)
    def shared(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        with lock:
            return cached(*args, **kwargs)  # type: ignore[arg-type] # functools.cache has no ParamSpec: Hashable

    return shared


def forget_shared_objects() -> None:
    """Forget every object that `once_per_process` keeps, without closing it, as a new process would; for tests."""
    for clear in _CACHE_CLEARERS:
        clear()
