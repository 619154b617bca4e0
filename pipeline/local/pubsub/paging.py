"""Pages of a listing, sorted by name; the page token is the last name of the page before."""

from collections.abc import Iterable

from pipeline.local.pubsub.errors import InvalidArgumentError

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000


def page_of(names: Iterable[str], page_size: int, page_token: str) -> tuple[list[str], str]:
    """Return the names of a page, and the token of the next page (empty after the last)."""
    if page_size < 0:
        raise InvalidArgumentError("page_size can't be negative")
    size = min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    remaining = sorted(name for name in names if name > page_token)
    return remaining[:size], remaining[size - 1] if len(remaining) > size else ""
