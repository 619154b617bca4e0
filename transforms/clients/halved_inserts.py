"""Insert rows in one request, and in halves of it where BigQuery refuses the request because of one of its rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from google.api_core import exceptions as api

Rows = Mapping[str, Mapping[str, Any]]
"""JSON rows by insert id."""

Insert = Callable[[Rows], Sequence[Mapping[str, Any]]]
"""Sends one request; returns an entry with `index` and `errors` for each row that BigQuery refused."""

_OF_A_ROW: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE})
"""Statuses of a request that one of its rows can cause."""


@dataclass(frozen=True)
class RefusedRow:
    """A row that BigQuery did not take: its insert id, and BigQuery's errors."""

    row_id: str
    errors: Sequence[Mapping[str, Any]]


def insert_or_halve(rows: Rows, insert: Insert) -> list[RefusedRow]:
    """Insert rows, and return those that were refused.

    A request that is refused as too large (413) or as malformed (400) is sent again in halves. A row that is refused so
    alone is a refused row.

    Raises:
        GoogleAPICallError: BigQuery did not answer, or refused the request for another reason than its rows.
    """
    ids = list(rows)
    try:
        entries = insert(rows)
    except api.GoogleAPICallError as error:
        if error.code not in _OF_A_ROW:
            raise
        if len(ids) == 1:
            return [RefusedRow(ids[0], [{"reason": "invalid", "location": _of_request(error.code)}])]
        halves = (ids[: len(ids) // 2], ids[len(ids) // 2 :])
        return [row for half in halves for row in insert_or_halve({row_id: rows[row_id] for row_id in half}, insert)]
    return [RefusedRow(ids[entry["index"]], entry["errors"]) for entry in entries]


def is_malformed(row: RefusedRow) -> bool:
    """Return whether a row is refused because the request that had it alone was malformed (400)."""
    return [error.get("location") for error in row.errors] == [_of_request(HTTPStatus.BAD_REQUEST)]


def _of_request(status: int) -> str:
    """Return what stands in place of a column where a request with one row was refused."""
    return f"the request, HTTP {int(status)}"
