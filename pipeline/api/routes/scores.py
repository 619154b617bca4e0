"""Scores: whom to call, an account, its history."""

import datetime as dt
from collections.abc import Sequence
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Path, Query, Response

from pipeline.api.answers import Asked, Reader, json_answer, problems
from pipeline.api.documents import AccountDocument, HistoryDocument, ScoreListDocument
from pipeline.api.problems import Kind, Problem, invalid
from pipeline.api.read_model.cursors import MAX_CURSOR
from pipeline.api.read_model.rows import time_of
from pipeline.api.read_model.score_queries import (
    AccountsRequest,
    Order,
    account_history,
    account_row,
    list_accounts,
)
from pipeline.scores.phrases import cause_text
from schemas.salesforce_ids import normalize_account_id
from schemas.score import Tier
from schemas.views import HISTORY_DAYS

MAX_LIMIT: Final = 200
MAX_VALUES: Final = 50
router: Final = APIRouter(tags=["scores"])

_ID: Final = Path(
    description="Salesforce's id of the account, 15 or 18 characters",
    min_length=15,
    max_length=18,
    pattern="^001[0-9A-Za-z]{12}([A-Za-z0-5]{3})?$",
    examples=["0015g00000Xy3ZqAAJ"],
)
AccountId = Annotated[str, _ID]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items of a page, at most")]
Cursor = Annotated[
    str | None, Query(max_length=MAX_CURSOR, description="next_cursor of the page before; the other parameters stay")
]
_Texts = Annotated[list[Annotated[str, Query(min_length=1, max_length=255)]], Query(max_length=MAX_VALUES)]


def checked_account(text: str, where: str = "path.account_id") -> str:
    """Return an account's id with 18 characters.

    Raises:
        Problem: It is none.
    """
    try:
        return normalize_account_id(text)
    except ValueError:
        raise invalid(
            where, "expected the id of an account: 15 or 18 characters from 001 on, with its checksum"
        ) from None


@router.get(
    "/v1/scores",
    summary="List accounts by their score",
    response_model=None,
    responses={200: {"model": ScoreListDocument}, **problems(Kind.INVALID)},
)
def scores(  # noqa: PLR0917 - the parameters of the query
    services: Asked,
    _reader: Reader,
    tier: Annotated[list[Tier], Query(description="Only these tiers", max_length=4)] = [],  # noqa: B006 - FastAPI copies it
    owner: Annotated[_Texts, Query(description="Only these owners, by Salesforce's id")] = [],  # noqa: B006
    industry: Annotated[_Texts, Query(description="Only these industries")] = [],  # noqa: B006
    search: Annotated[
        str, Query(max_length=255, description="Words that the name has; each may be the beginning of one")
    ] = "",
    moved_days: Annotated[
        int | None, Query(ge=1, le=HISTORY_DAYS, description="Compare with the scores of so many days ago")
    ] = None,
    moved_at_least: Annotated[
        int, Query(ge=0, le=100, description="Only scores that moved by so much since then; 0: all")
    ] = 1,
    deleted: Annotated[bool, Query(description="Accounts that were deleted, in place of those with a score")] = False,  # noqa: FBT002
    sort: Annotated[Order, Query(description="The order; - is the largest first")] = Order.HIGHEST,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Current scores with their reasons. With `moved_days`, those that moved, and why."""
    if sort is Order.MOST_MOVED and moved_days is None:
        raise invalid("query.sort", "-moved needs moved_days: since when?")
    fresh = services.fresh()
    request = AccountsRequest(
        tiers=tuple(tier),
        owner_ids=tuple(owner),
        industries=tuple(industry),
        search=search,
        deleted=deleted,
        days=moved_days,
        moved_at_least=0 if deleted else moved_at_least,
        order=sort,
        limit=limit,
        cursor=cursor,
    )
    page = list_accounts(services.model, request, services.now())
    document = {
        **fresh,
        "accounts": page.all_rows,
        "compared_with": page.since,
        "items": [_listed(row) for row in page.rows],
        "next_cursor": page.next_cursor,
    }
    return json_answer(document)


@router.get(
    "/v1/accounts/{account_id}",
    summary="Show an account: its score, the drivers, the next step, what changed",
    response_model=None,
    responses={200: {"model": AccountDocument}, **problems(Kind.INVALID, Kind.NOT_FOUND)},
)
def account(services: Asked, _reader: Reader, account_id: AccountId) -> Response:
    """An account of the mirror, or of the history of scores."""
    fresh, checked = services.fresh(), checked_account(account_id)
    row = account_row(services.model, checked)
    if row is None:
        raise unknown_account()
    *columns, is_scored = row
    history = account_history(services.model, checked, 1)
    newest = _movement(history.rows[0]) if history.rows else None
    names = ("name", "owner_id", "industry", "type", "website", "billing_country")
    document = {
        **fresh,
        "account_id": checked,
        **dict(zip(names, columns, strict=True)),
        "state": "no_score" if is_scored is None else "scored" if is_scored else "deleted",
        "score": newest["score"] if newest and is_scored else None,
        "what_changed": newest,
        "movements": history.all_rows,
    }
    return json_answer(document)


@router.get(
    "/v1/accounts/{account_id}/scores",
    summary="Show the history of an account's scores",
    response_model=None,
    responses={200: {"model": HistoryDocument}, **problems(Kind.INVALID, Kind.NOT_FOUND)},
)
def history(
    services: Asked, _reader: Reader, account_id: AccountId, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """Each score beside the one before it, the newest change first."""
    fresh, checked = services.fresh(), checked_account(account_id)
    page = account_history(services.model, checked, limit, cursor)
    if not page.rows and account_row(services.model, checked) is None:
        raise unknown_account()
    document = {
        **fresh,
        "account_id": checked,
        "movements": page.all_rows,
        "items": [_movement(row) for row in page.rows],
        "next_cursor": page.next_cursor,
    }
    return json_answer(document)


def unknown_account() -> Problem:
    """Return the problem of an account of which nothing is known."""
    return Problem(
        Kind.NOT_FOUND,
        f"neither the mirror nor the scores of the last {HISTORY_DAYS} days have this account: is the id right?",
    )


def _listed(row: Sequence[Any]) -> dict[str, Any]:
    account_id, name, owner_id, industry, document, *moved = row
    return {
        "account_id": account_id,
        "name": name,
        "owner_id": owner_id,
        "industry": industry,
        "score": orjson.Fragment(document),
        "moved": _moved(moved),
    }


def _moved(columns: Sequence[Any]) -> dict[str, Any] | None:
    previous_score, previous_tier, difference, cause, moved_at, moved_by = columns
    if difference is None:
        return None
    fields = orjson.loads(moved_by)["changed_fields"] if moved_by else ()
    return {
        "previous_score": previous_score,
        "previous_tier": previous_tier,
        "difference": difference,
        "moved_at": _time(moved_at),
        "cause": cause,
        "because": cause_text(cause, fields) if difference else "it did not move",
    }


def _movement(row: Sequence[Any]) -> dict[str, Any]:
    document, difference, cause, previous_id, *previous = row
    names = ("score", "tier", "scored_at", "model", "model_version", "prompt_version")
    before = {"score_id": previous_id, **dict(zip(names, previous, strict=True))}
    before["scored_at"] = _time(before["scored_at"])
    return {
        "score": orjson.Fragment(document),
        "difference": difference,
        "cause": cause,
        "because": cause_text(cause, orjson.loads(document)["changed_fields"]),
        "previous": before if previous_id else None,
    }


def _time(microseconds: int | None) -> dt.datetime | None:
    return None if microseconds is None else time_of(microseconds)
