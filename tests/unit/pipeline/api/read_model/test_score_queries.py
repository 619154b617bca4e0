"""Lists of accounts out of the read model: filters, search, order, cursors."""

import datetime as dt
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.api.read_model.cursors import BadCursor
from pipeline.api.read_model.refresher import Refresher
from pipeline.api.read_model.score_queries import (
    AccountsRequest,
    Order,
    account_history,
    account_row,
    list_accounts,
    search_expression,
)
from pipeline.api.read_model.store import ReadModel
from schemas.account_context import AccountProfile
from schemas.score import Tier
from tests.fixtures.changes import account_id
from tests.fixtures.read_model import KeptSource, ids_of
from tests.fixtures.scores import score_row

NOW: Final = dt.datetime(2026, 3, 2, 9, 30, tzinfo=dt.UTC)
DAY: Final = dt.timedelta(days=1)
NAMES: Final = {
    1: "Quillon Travel AG",
    2: "Müller & Söhne",
    3: "شركة النور",
    4: '<b>Bold</b> "NEAR" OR 1=1 --',
    5: "A" * 255,
    6: "Quill Partners",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReadModel]:
    """Return a read model with seven accounts, of which one was deleted and one has no name."""
    source = KeptSource(
        stored=[
            *(score_row(number, 10 * number, NOW - 9 * DAY) for number in range(1, 8)),
            score_row(1, 95, NOW - DAY),
            score_row(6, 59, NOW - 2 * DAY),
            score_row(7, None, NOW - DAY),
            *(score_row(number, 50, NOW - 3 * DAY) for number in range(8, 12)),
        ],
        accounts=[
            AccountProfile(
                account_id=account_id(number),
                name=name,
                owner_id=f"005{number % 2}",
                industry="Energy" if number < 4 else None,
                modified_at=NOW,
            )
            for number, name in NAMES.items()
        ],
    )
    made = ReadModel(tmp_path_factory.mktemp("model"))
    Refresher(made, source, now=lambda: NOW).refresh()
    yield made
    made.close()


def _listed(model: ReadModel, **request: Any) -> list[int]:
    rows = list_accounts(model, AccountsRequest(**request), NOW).rows
    return [next(number for number in range(1, 20) if account_id(number) == found) for found in ids_of(rows)]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"limit": 3}, [1, 6, 5]),
        ({"order": Order.LOWEST, "limit": 2}, [2, 3]),
        ({"order": Order.NEWEST, "limit": 2}, [1, 6]),
        ({"order": Order.NAME, "limit": 9}, [8, 9, 10, 11, 4, 5, 2, 6, 1]),
        ({"tiers": (Tier.HOT,)}, [1]),
        ({"tiers": (Tier.HOT, Tier.COLD)}, [1, 2]),
        ({"owner_ids": ("0051",)}, [1, 5, 3]),
        ({"industries": ("Energy",), "owner_ids": ("0050",)}, [2]),
        ({"deleted": True}, [7]),
        ({"days": 7, "moved_at_least": 1, "order": Order.MOST_MOVED}, [1, 6]),
        ({"days": 7, "moved_at_least": 2, "order": Order.MOST_MOVED}, [1]),
        ({"days": 7, "limit": 1}, [1]),
        ({"search": "quill"}, [1, 6]),
        ({"search": "QUILLON tra"}, [1]),
        ({"search": "muller sohne"}, [2]),
        ({"search": "النور"}, [3]),
        ({"search": 'NEAR" OR "1'}, [4]),
        ({"search": "a" * 255}, [5]),
        ({"search": "b* NOT (("}, []),
        ({"search": "&"}, []),
        ({"search": "' OR 1=1 --\x00"}, [4]),
    ],
)
def test_a_list_has_what_was_asked_for(model: ReadModel, request_: dict[str, Any], expected: list[int]) -> None:
    """Filters are joined by and, values of one by or; a search takes beginnings of words, and no syntax."""
    assert _listed(model, **request_) == expected


@pytest.mark.parametrize("order", [*Order])
@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_have_each_account_once(model: ReadModel, order: Order, limit: int) -> None:
    """Whatever the order, also among equal scores; together they are the list."""
    whole = list_accounts(model, AccountsRequest(order=order, limit=200, days=7), NOW)
    pages: list[str] = []
    cursor: str | None = None
    while True:
        page = list_accounts(model, AccountsRequest(order=order, limit=limit, days=7, cursor=cursor), NOW)
        assert page.all_rows == 10
        pages += ids_of(page.rows)
        if (cursor := page.next_cursor) is None:
            break
    assert pages == ids_of(whole.rows)
    assert (len(pages), whole.next_cursor) == (10, None)


@pytest.mark.parametrize("cursor", ["", "x", "é", "bm8", "W10", "e30", "WyJhIl0", "WzFd" * 500, "\x00"])
def test_a_text_that_is_no_cursor_is_refused(model: ReadModel, cursor: str) -> None:
    """Whatever it is."""
    with pytest.raises(BadCursor):
        list_accounts(model, AccountsRequest(cursor=cursor), NOW)


def test_a_cursor_belongs_to_its_list(model: ReadModel) -> None:
    """With other filters or another order it would skip accounts without a word."""
    cursor = list_accounts(model, AccountsRequest(limit=1), NOW).next_cursor
    for other in ({"order": Order.LOWEST}, {"tiers": (Tier.HOT,)}, {"search": "a"}, {"days": 1}):
        with pytest.raises(BadCursor, match="belongs to another request"):
            list_accounts(model, AccountsRequest(cursor=cursor, **other), NOW)
    with pytest.raises(BadCursor, match="belongs to another request"):
        account_history(model, account_id(1), 1, cursor)


@given(text=st.text(max_size=40))
def test_any_text_can_be_searched_for(model: ReadModel, text: str) -> None:
    """None is an expression of the index's own language."""
    assert list_accounts(model, AccountsRequest(search=text), NOW).all_rows >= 0
    assert search_expression(text).count('"') % 2 == 0


def test_the_history_has_pages(model: ReadModel) -> None:
    """The newest change first, each beside its predecessor."""
    first = account_history(model, account_id(1), 1)
    second = account_history(model, account_id(1), 1, first.next_cursor)
    assert (first.all_rows, second.next_cursor) == (2, None)
    assert [(row[1], row[2], row[4]) for row in (*first.rows, *second.rows)] == [
        (85, "facts", 10),
        (None, "first_score", None),
    ]


def test_an_account_of_which_nothing_is_known_is_none(model: ReadModel) -> None:
    """One of the mirror without a score, a deleted one and one without a name are known."""
    assert account_row(model, account_id(99)) is None
    assert account_row(model, account_id(8)) == (None, None, None, None, None, None, True)
    assert account_row(model, account_id(7)) == (None, None, None, None, None, None, False)
