"""Rows and dead-letter messages."""

import json

import orjson
from hypothesis import given
from hypothesis import strategies as st

from schemas.change_event import SourceMessage
from schemas.dead_letter import dead_letter_row
from schemas.outcome import OutcomeKind
from schemas.record import to_row
from schemas.tables import CHANGE_OUTCOMES, DEAD_LETTERS
from tests.fixtures.changes import NOW, change
from transforms.errors import InvalidScore
from transforms.ledger import Ledger, Received
from transforms.write.held_inserts import refusal_reasons
from transforms.write.publish_dead_letters import dead_letter_message
from transforms.write.write_rows import insert_requests

LEDGER = Ledger("Score accounts", "1", now=lambda: NOW)
LETTER = LEDGER.dead_letter(
    Received.of(change(source=SourceMessage(payload=b"\x00\xff<", attributes={"origin": "x"}))), InvalidScore("score")
)


def test_a_dead_letter_is_the_original_message() -> None:
    """The payload equals the published bytes; the original attributes are kept beside the envelope's."""
    message = dead_letter_message(LETTER)
    assert message.payload == b"\x00\xff<"
    assert message.attributes["origin"] == "x"
    assert message.attributes["error_class"] == "invalid_score"
    assert message.attributes["retryable"] == "true"


def test_rows_are_json_with_iso_dates_and_known_columns() -> None:
    """A row is JSON, and has no column that its table lacks."""
    for table, record in (
        (DEAD_LETTERS, dead_letter_row(LETTER)),
        (CHANGE_OUTCOMES, LEDGER.outcome(Received.of(change()), OutcomeKind.RECEIVED)),
    ):
        row = to_row(record)
        assert json.loads(json.dumps(row)) == row
        assert set(row) <= {column["name"] for column in table.columns}
        required = {column["name"] for column in table.columns if column["mode"] == "REQUIRED"}
        assert required <= set(row)
    assert to_row(dead_letter_row(LETTER))["failed_at"] == "2026-03-02T09:31:00Z"


def test_bigquerys_reasons_are_kept_without_their_text() -> None:
    """Reason and column are kept; the message is not, because it can quote a value."""
    errors = [{"reason": "invalid", "location": "score", "message": "Cannot convert SECRET"}, {"reason": "stopped"}]
    assert refusal_reasons(errors) == "invalid at score, stopped at the row"


@given(st.lists(st.text(max_size=40), max_size=30), st.integers(50, 200))
def test_requests_have_every_row_once_within_the_size_limit(texts: list[str], max_bytes: int) -> None:
    """Rows are split into requests by size; a row larger than the limit gets its own request."""
    rows = [(str(number), {"text": text}) for number, text in enumerate(texts)]
    requests = list(insert_requests(rows, max_bytes=max_bytes))
    assert [item for request in requests for item in request.items()] == rows
    for request in requests:
        assert len(request) == 1 or sum(len(orjson.dumps(row)) for row in request.values()) <= max_bytes
