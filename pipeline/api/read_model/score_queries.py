"""What is asked of the read model: lists of accounts, an account, its history."""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from pipeline.api.read_model.cursors import cursor_of, keys_of
from pipeline.api.read_model.rows import microseconds
from pipeline.api.read_model.store import ReadModel
from pipeline.api.read_model.tables import NEWEST_FIRST
from schemas.score import Tier

_LATER_THAN_ALL: Final = 2**62
MAX_SEARCH_WORDS: Final = 8
_WORD: Final = re.compile(r"\w+")


class Order(StrEnum):
    """How a list of accounts is sorted; - is the largest first."""

    HIGHEST = "-score"
    LOWEST = "score"
    NAME = "name"
    NEWEST = "-scored_at"
    MOST_MOVED = "-moved"


class _SortKey(NamedTuple):
    sql: str
    is_descending: bool
    kind: type


_ACCOUNT: Final = _SortKey("listed.account_id", False, str)
_SORT_KEYS: Final[Mapping[Order, tuple[_SortKey, ...]]] = {
    Order.HIGHEST: (_SortKey("listed.score", True, int), _SortKey("listed.confidence", True, float), _ACCOUNT),
    Order.LOWEST: (_SortKey("listed.score", False, int), _ACCOUNT),
    Order.NAME: (_SortKey("listed.sort_name", False, str), _ACCOUNT),
    Order.NEWEST: (_SortKey("listed.scored", True, int), _ACCOUNT),
    Order.MOST_MOVED: (
        _SortKey("IFNULL(ABS(listed.score - compared.score), -1)", True, int),
        _SortKey("listed.score", True, int),
        _ACCOUNT,
    ),
}

_PAGE: Final = """
SELECT
  page.account_id, accounts.name, accounts.owner_id, accounts.industry, scores.document, page.previous_score,
  page.previous_tier, page.difference, moves.cause, moves.scored AS moved_at, moves.document AS moved_by, {page_keys}
FROM (
  SELECT listed.account_id, listed.newest, {compared}, {keys}
  FROM listed {joins}
  WHERE {condition}
  ORDER BY {order}
  LIMIT :limit
) AS page
JOIN scores ON scores.id = page.newest
LEFT JOIN accounts ON accounts.account_id = page.account_id
LEFT JOIN scores AS moves ON moves.id = (
  SELECT id FROM scores AS history
  WHERE history.account_id = page.account_id AND history.scored >= :since AND history.difference != 0
  ORDER BY {newest_first}
  LIMIT 1
)
ORDER BY {page_order}
"""
_COUNT: Final = "SELECT COUNT(*) FROM listed {joins} WHERE {condition}"
_COMPARED: Final = (
    "compared.score AS previous_score, compared.tier AS previous_tier, listed.score - compared.score AS difference"
)
_NOT_COMPARED: Final = "NULL AS previous_score, NULL AS previous_tier, NULL AS difference"
_COMPARISON: Final = "JOIN compared ON compared.days = :days AND compared.account_id = listed.account_id"
_ACCOUNT_SQL: Final = """
SELECT
  accounts.name, accounts.owner_id, accounts.industry, accounts.type, accounts.website, accounts.billing_country,
  listed.is_scored, accounts.account_id IS NOT NULL AS is_mirrored
FROM (SELECT :account_id AS account_id) AS asked
LEFT JOIN accounts ON accounts.account_id = asked.account_id
LEFT JOIN listed ON listed.account_id = asked.account_id
"""
_HISTORY_SQL: Final = f"""
SELECT
  scores.document, scores.difference, scores.cause, before.score_id AS previous_score_id,
  before.score AS previous_score, before.tier AS previous_tier, before.scored AS previous_scored,
  before.model AS previous_model, before.model_version AS previous_model_version,
  before.prompt_version AS previous_prompt_version,
  scores.committed, scores.sequence, scores.is_tombstone, scores.scored, scores.score_id
FROM scores
LEFT JOIN scores AS before ON before.id = scores.previous
WHERE scores.account_id = :account_id AND {{condition}}
ORDER BY {", ".join(f"scores.{key.strip()}" for key in NEWEST_FIRST.split(","))}
LIMIT :limit
"""  # noqa: S608 - all text is from this package
_HISTORY_COUNT: Final = "SELECT COUNT(*) FROM scores WHERE account_id = ?"
_HISTORY_KEYS: Final = (
    _SortKey("scores.committed", True, int),
    _SortKey("scores.sequence", True, int),
    _SortKey("scores.is_tombstone", True, int),
    _SortKey("scores.scored", True, int),
    _SortKey("scores.score_id", False, str),
)


@dataclass(frozen=True)
class AccountsRequest:
    """Which accounts to list; empty filters leave nothing out.

    Attributes:
        tiers: Tiers of the score.
        owner_ids: Salesforce ids of owners.
        industries: Of the mirror.
        search: Words that the name has; the last one may be the beginning of a word.
        deleted: Accounts that were deleted, in place of those that have a score.
        days: Compare with the scores of so many days ago.
        moved_at_least: Only accounts whose score is by so much another than it was then.
        order: How they are sorted.
        limit: How many, at most.
        cursor: Where to begin; None: at the first.
    """

    tiers: tuple[Tier, ...] = ()
    owner_ids: tuple[str, ...] = ()
    industries: tuple[str, ...] = ()
    search: str = ""
    deleted: bool = False
    days: int | None = None
    moved_at_least: int = 0
    order: Order = Order.HIGHEST
    limit: int = 50
    cursor: str | None = None

    @property
    def sorted_by(self) -> Order:
        """The order that the list can have: deleted accounts have no score."""
        return Order.NEWEST if self.deleted and self.order is not Order.NAME else self.order

    @property
    def identity(self) -> tuple[Any, ...]:
        """What the cursors of the list belong to."""
        filters = (self.tiers, self.owner_ids, self.industries, self.search, self.deleted)
        return *filters, self.days, self.moved_at_least, self.order


@dataclass(frozen=True)
class Page:
    """Rows of a list, how many there are in all, and where the next page begins.

    Attributes:
        rows: In order; what columns they have, the functions below say.
        all_rows: On all pages.
        next_cursor: None on the last page.
        since: The time with which scores are compared; None if they are not.
    """

    rows: Sequence[Sequence[Any]]
    all_rows: int
    next_cursor: str | None
    since: dt.datetime | None = None


def list_accounts(model: ReadModel, request: AccountsRequest, now: dt.datetime) -> Page:
    """Return accounts with their score, and how it moved.

    A row has account_id, name, owner_id, industry, the score's document, the previous score and tier, the difference,
    and of the last movement since then its cause, time in microseconds, and its score's document.

    Raises:
        BadCursor: The cursor is none of this list.
    """
    since = model.compared_since(request.days, now) if request.days is not None else None
    condition, values, joins = _condition(request)
    ((count,),) = model.read(_COUNT.format(joins=joins, condition=condition), values)
    keys = _SORT_KEYS[request.sorted_by]
    begin, begin_values = _behind(keys, request.cursor, request.identity)
    sql = _PAGE.format(
        compared=_COMPARED if joins else _NOT_COMPARED,
        keys=", ".join(f"{key.sql} AS key_{number}" for number, key in enumerate(keys)),
        page_keys=", ".join(f"page.key_{number}" for number in range(len(keys))),
        joins=joins,
        condition=f"{condition} AND {begin}",
        order=_order([key.sql for key in keys], keys),
        page_order=_order([f"page.key_{number}" for number in range(len(keys))], keys),
        newest_first=NEWEST_FIRST,
    )
    limits = {"limit": request.limit + 1, "since": microseconds(since) if since else _LATER_THAN_ALL}
    rows = model.read(sql, values | begin_values | limits)
    return _page(rows, request.limit, len(keys), request.identity, all_rows=count, since=since)


def account_row(model: ReadModel, account_id: str) -> Sequence[Any] | None:
    """Return what is known of an account; None if it is in neither the mirror nor the history.

    The row has name, owner_id, industry, type, website, billing_country of the mirror, and whether it has a score (None
    if it never had one).
    """
    (row,) = model.read(_ACCOUNT_SQL, {"account_id": account_id})
    *columns, is_scored, is_mirrored = row
    if not is_mirrored and is_scored is None:
        return None
    return *columns, None if is_scored is None else bool(is_scored)


def newest_change(model: ReadModel, account_id: str) -> int | None:
    """Return when the newest change that an account was scored for was committed, in microseconds; None: none was."""
    ((newest,),) = model.read("SELECT MAX(committed) FROM scores WHERE account_id = ?", (account_id,))
    return None if newest is None else int(newest)


def account_history(model: ReadModel, account_id: str, limit: int, cursor: str | None = None) -> Page:
    """Return the scores of an account beside their predecessors, the newest change first.

    A row has the score's document, difference, cause, and of the score before it the id, score, tier, time in
    microseconds, model, model version and prompt version.

    Raises:
        BadCursor: The cursor is none of this list.
    """
    ((count,),) = model.read(_HISTORY_COUNT, (account_id,))
    identity = ("history", account_id)
    begin, values = _behind(_HISTORY_KEYS, cursor, identity)
    rows = model.read(_HISTORY_SQL.format(condition=begin), {"account_id": account_id, "limit": limit + 1, **values})
    return _page(rows, limit, len(_HISTORY_KEYS), identity, all_rows=count)


def _condition(request: AccountsRequest) -> tuple[str, dict[str, Any], str]:
    """Return the condition over `listed`, its parameters, and the join that it needs."""
    conditions, values, joins = ["listed.is_scored = :is_scored"], {"is_scored": int(not request.deleted)}, ""
    lists = {"tier": request.tiers, "owner_id": request.owner_ids, "industry": request.industries}
    parameters: dict[str, Any] = dict(values)
    for column, wanted in lists.items():
        if wanted:
            names = {f"{column}_{number}": str(value) for number, value in enumerate(wanted)}
            conditions.append(f"listed.{column} IN ({', '.join(f':{name}' for name in names)})")
            parameters |= names
    if request.search:
        conditions.append(
            "listed.account_id IN (SELECT accounts.account_id FROM names JOIN accounts ON accounts.rowid = names.rowid "
            "WHERE names MATCH :search)"
        )
        parameters["search"] = search_expression(request.search)
    if request.days is not None:
        joins = _COMPARISON if request.moved_at_least else f"LEFT {_COMPARISON}"
        parameters["days"] = request.days
    if request.days is not None and request.moved_at_least:
        conditions.append("ABS(listed.score - compared.score) >= :moved_at_least")
        parameters["moved_at_least"] = request.moved_at_least
    return " AND ".join(conditions), parameters, joins


def search_expression(text: str) -> str:
    """Return the FTS5 expression of words that all are in a name, each as a beginning of one; quoted: none is syntax.

    A text without a word, such as "&", matches nothing.
    """
    words = _WORD.findall(text)[:MAX_SEARCH_WORDS]
    return " ".join(f'"{word}"*' for word in words) or '""'


def _order(names: Sequence[str], keys: Sequence[_SortKey]) -> str:
    return ", ".join(f"{name}{' DESC' if key.is_descending else ''}" for name, key in zip(names, keys, strict=True))


def _behind(keys: Sequence[_SortKey], cursor: str | None, identity: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    """Return the condition of rows behind a cursor's row, and its parameters."""
    if cursor is None:
        return "TRUE", {}
    begin = keys_of(cursor, identity, [key.kind for key in keys])
    alternatives = []
    for number, key in enumerate(keys):
        equal = [f"{before.sql} = :begin_{position}" for position, before in enumerate(keys[:number])]
        alternatives.append(" AND ".join([*equal, f"{key.sql} {'<' if key.is_descending else '>'} :begin_{number}"]))
    condition = " OR ".join(f"({alternative})" for alternative in alternatives)
    return f"({condition})", {f"begin_{number}": value for number, value in enumerate(begin)}


def _page(
    rows: Sequence[Sequence[Any]],
    limit: int,
    key_count: int,
    identity: Sequence[Any],
    *,
    all_rows: int,
    since: dt.datetime | None = None,
) -> Page:
    """Return a page of rows that end with their sort keys; one row more than the limit says that there is another."""
    shown = rows[:limit]
    next_cursor = cursor_of(identity, shown[-1][-key_count:]) if len(rows) > limit else None
    return Page([row[:-key_count] for row in shown], all_rows, next_cursor, since)
