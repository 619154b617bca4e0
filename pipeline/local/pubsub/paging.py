"""Pages of a listing, sorted by name; the page token is the last name of the page before."""

from collections.abc import Iterable
from typing import Any

from pipeline.local.pubsub.errors import InvalidArgumentError
from pipeline.local.pubsub.validation import check_project

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000


def page_of(names: Iterable[str], request: Any) -> tuple[list[str], str]:
    """Return the names of the page that a List request asks for, and the token of the next page (empty: the last)."""
    if request.page_size < 0:
        raise InvalidArgumentError("page_size can't be negative")
    size = min(request.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    remaining = sorted(name for name in names if name > request.page_token)
    return remaining[:size], remaining[size - 1] if len(remaining) > size else ""


def page_of_project(names: Iterable[str], request: Any) -> tuple[list[str], str]:
    """Return a page, as `page_of` does, of the names in the project that the request names."""
    check_project(request.project)
    return page_of((name for name in names if name.startswith(f"{request.project}/")), request)
