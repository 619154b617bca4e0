"""`rescore explain` counts messages, events and records as the glossary does."""

import datetime as dt
import io
from pathlib import Path

import orjson
import pytest
from rich.console import Console

from pipeline.ledger.explain import explain, render
from schemas.clock import Clock
from tests.fixtures.changes import NOW, account_id, event

THREE_RECORDS = event(recordIds=[account_id(number) for number in (1, 2, 3)])


@pytest.mark.parametrize(
    ("content", "count"),
    [
        (orjson.dumps(event()), "1 event: 1 rescore"),
        (orjson.dumps(THREE_RECORDS), "1 event, 3 records: 3 rescore"),
        (orjson.dumps({"data": [event(), THREE_RECORDS]}), "1 message, 2 events, 4 records: 4 rescore"),
        (orjson.dumps({"data": [event(), event()]}), "1 message, 2 events: 2 rescore"),
        (orjson.dumps([event(), event()]), "2 events: 2 rescore"),
        (orjson.dumps({"data": [event(), {}]}), "1 message, 2 events: 1 rescore, 1 dead-letter"),
        (b"not JSON", "1 event: 1 dead-letter"),
    ],
)
def test_the_summary_counts_events_and_their_records(tmp_path: Path, content: bytes, count: str) -> None:
    """Messages and records are counted where they are not as many as events; one that can't be read is an event."""
    file = tmp_path / "events.json"
    file.write_bytes(content)
    screen = Console(file=io.StringIO(), width=200)
    screen.print(render(explain([file], materiality=None, schemas=None)))
    assert isinstance(screen.file, io.StringIO)
    assert screen.file.getvalue().splitlines()[-1].strip() == count


def _at(now: dt.datetime) -> Clock:
    return lambda: now


def test_an_event_of_the_future_is_explained_as_one(tmp_path: Path) -> None:
    """A file has no time of publication, so the present one counts."""
    file = tmp_path / "event.json"
    file.write_bytes(orjson.dumps(event()))
    for now, decision in ((NOW, "rescore"), (NOW - dt.timedelta(hours=1), "dead_letter")):
        (document,) = explain([file], materiality=None, schemas=None, now=_at(now)).document()
        assert document["decision"] == decision
