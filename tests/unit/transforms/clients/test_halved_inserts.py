"""A request that BigQuery refuses because of one of its rows is sent again in halves."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from google.api_core import exceptions as api

from transforms.clients.halved_inserts import RefusedRow, Rows, insert_or_halve, is_malformed

MALFORMED, TOO_LARGE, FORBIDDEN = (
    api.from_http_status(status, "no")  # type: ignore[no-untyped-call] # google-api-core has no annotations here
    for status in (400, 413, 403)
)


def _rows(count: int) -> dict[str, Mapping[str, Any]]:
    return {f"id-{number}": {"number": number} for number in range(count)}


@pytest.mark.parametrize("error", [MALFORMED, TOO_LARGE], ids=["400", "413"])
def test_the_row_at_fault_is_found(error: api.GoogleAPICallError) -> None:
    """The others are inserted, each once."""
    inserted: list[str] = []

    def insert(rows: Rows) -> Sequence[Mapping[str, Any]]:
        if "id-5" in rows:
            raise error
        inserted.extend(rows)
        return []

    (refused,) = insert_or_halve(_rows(11), insert)
    assert refused.row_id == "id-5"
    assert is_malformed(refused) is (error.code == 400)
    assert sorted(inserted) == sorted(set(_rows(11)) - {"id-5"})


def test_rows_that_bigquery_names_keep_their_ids() -> None:
    """Its entries have the index within the request, which can be a half."""
    errors = [{"reason": "invalid", "location": "score"}]

    def insert(rows: Rows) -> Sequence[Mapping[str, Any]]:
        if len(rows) > 2:
            raise TOO_LARGE
        return [{"index": place, "errors": errors} for place, row in enumerate(rows.values()) if row["number"] % 2]

    assert insert_or_halve(_rows(4), insert) == [RefusedRow("id-1", errors), RefusedRow("id-3", errors)]
    assert not is_malformed(RefusedRow("id-1", errors))


def test_another_error_is_the_requests() -> None:
    """It is not split: none of its rows is the cause."""
    asked: list[Rows] = []

    def insert(rows: Rows) -> Sequence[Mapping[str, Any]]:
        asked.append(rows)
        raise FORBIDDEN

    with pytest.raises(api.Forbidden):
        insert_or_halve(_rows(4), insert)
    assert len(asked) == 1
