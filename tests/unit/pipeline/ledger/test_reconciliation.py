"""Reconciling a ledger, for any multiset of rows."""

import datetime as dt
import io
import json
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.ledger.reconcile import render
from pipeline.ledger.reconciliation import (
    EventState,
    Reconciliation,
    Window,
    judge,
    read_ledger,
)
from schemas.failures import ErrorClass
from schemas.outcome import Outcome, OutcomeKind, SkipReason
from tests.fixtures.changes import account_id
from tests.fixtures.ledger import grouped, ledger_row
from transforms.errors import WarehouseUnavailable

UNTIL = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
GRACE = dt.timedelta(minutes=15)
WINDOW = Window(since=UNTIL - dt.timedelta(days=1), until=UNTIL, grace=GRACE)

_OUTCOMES = st.sampled_from(
    [
        *("received", "scored", "tombstoned", "coalesced", "resync_requested"),
        *(f"skipped:{reason}" for reason in SkipReason),
        *(f"dead_lettered:{error}" for error in ErrorClass),
    ]
)
_ROWS = st.lists(
    st.builds(
        lambda outcome, event, account, replay, minutes: ledger_row(
            outcome,
            f"{event:032x}",
            account_id=account,
            replay_count=replay,
            recorded_at=UNTIL - dt.timedelta(minutes=minutes),
        ),
        _OUTCOMES,
        st.integers(0, 5),
        st.sampled_from([None, account_id(1)]),
        st.integers(0, 1),
        st.integers(0, 40),
    )
)


def _judge(rows: Iterable[Outcome], limit: int = 20) -> Reconciliation:
    return judge(grouped(rows, WINDOW), WINDOW, limit=limit)


def _recorded(rows: list[Outcome]) -> dict[tuple[str, str | None, int], list[Outcome]]:
    pairs: dict[tuple[str, str | None, int], list[Outcome]] = {}
    for row in rows:
        pairs.setdefault((row.event_id, row.account_id, row.replay_count), []).append(row)
    return pairs


@given(_ROWS)
def test_each_event_has_one_state(rows: list[Outcome]) -> None:
    """By whether it is overdue, and by the number of its final outcomes."""
    result = _judge(rows, limit=1_000)
    unexplained = {(it.event_id, it.account_id, it.replay_count) for it in result.oldest_unexplained}
    double = {(it.event_id, it.account_id, it.replay_count) for it in result.doubles}
    pairs = _recorded(rows)
    assert result.events == len(pairs)
    assert len(unexplained) == result.states[EventState.UNEXPLAINED]
    assert len(double) == result.states[EventState.DOUBLE]
    for pair, of_pair in pairs.items():
        received = [row.recorded_at for row in of_pair if row.outcome is OutcomeKind.RECEIVED]
        said = {
            (row.outcome, row.reason, row.error_class) for row in of_pair if row.outcome is not OutcomeKind.RECEIVED
        }
        said = {it for it in said if it[1] is not SkipReason.DUPLICATE}
        if any(it[2] is ErrorClass.ROW_REJECTED for it in said):
            superseded = (OutcomeKind.SCORED, OutcomeKind.TOMBSTONED)
            said = {it for it in said if it[0] not in superseded and it[1] is not SkipReason.UNCHANGED_CONTEXT}
        assert (pair in double) == (len(said) > 1)
        assert (pair in unexplained) == (not said and bool(received) and min(received) <= UNTIL - GRACE)
    assert result.is_ok == (not unexplained and not double)


@given(_ROWS)
def test_rows_that_repeat_in_another_order_change_nothing(rows: list[Outcome]) -> None:
    """At-least-once delivery of ledger rows does not matter."""
    repeated = [*rows, *rows[::2], *reversed(rows)]
    assert _judge(repeated) == _judge(rows)


@given(_ROWS)
def test_the_counts_balance(rows: list[Outcome]) -> None:
    """The counts by outcome add up to the events with outcomes; a total is the sum of its reasons."""
    result = _judge(rows)
    kinds = [kind for kind in OutcomeKind if kind is not OutcomeKind.RECEIVED]
    explained_with_outcome = result.states[EventState.EXPLAINED] - _only_delivered_again(rows)
    total = sum(result.counts[kind] for kind in kinds)
    assert total >= explained_with_outcome + result.states[EventState.DOUBLE]
    if not result.states[EventState.DOUBLE]:
        assert total == explained_with_outcome
        by_reason = [(name, count) for name, count in result.counts.items() if ":" in name and "duplicate" not in name]
        for kind in (OutcomeKind.SKIPPED, OutcomeKind.DEAD_LETTERED):
            assert result.counts[kind] == sum(count for name, count in by_reason if name.startswith(f"{kind}:"))


def _only_delivered_again(rows: list[Outcome]) -> int:
    return sum(all(row.reason is SkipReason.DUPLICATE for row in of_pair) for of_pair in _recorded(rows).values())


@given(_ROWS, st.integers(1, 4))
def test_listings_have_the_oldest_and_no_more_than_the_limit(rows: list[Outcome], limit: int) -> None:
    """A bounded listing is the start of the full one; totals don't depend on it."""
    bounded, whole = _judge(rows, limit), _judge(rows, 1_000)
    assert bounded.oldest_unexplained == whole.oldest_unexplained[:limit]
    assert bounded.doubles == whole.doubles[:limit]
    assert (bounded.counts, bounded.states) == (whole.counts, whole.states)
    times = [event.first_recorded_at for event in whole.oldest_unexplained]
    assert times == sorted(times)


@given(_ROWS)
def test_any_result_can_be_shown_and_printed(rows: list[Outcome]) -> None:
    """For any ledger, as a report and as a document."""
    result = _judge(rows)
    assert json.dumps(result.document()).startswith("{")
    assert _shown(result)


def test_the_report_says_what_to_do_next() -> None:
    """Which events are wrong and where to look; or that nothing is wrong."""
    lost = _shown(_judge([ledger_row("received", "e17", recorded_at=WINDOW.since)]))
    assert "e17" in lost
    assert "oldest unacknowledged message" in lost
    assert "every event that is due has one outcome" not in lost
    assert "every event that is due has one outcome" in _shown(_judge([]))


def test_what_events_say_is_shown_as_text() -> None:
    """An entity's name acts neither as markup nor as a control sequence."""
    row = ledger_row("received", "lost", recorded_at=WINDOW.since, entity_name="[bold]Ac\x1b[2Jme")
    assert "[bold]Ac�[2Jme" in _shown(_judge([row]))


def _shown(result: Reconciliation) -> str:
    screen = io.StringIO()
    Console(width=100, file=screen).print(render(result))
    return screen.getvalue()


class _NoAnswer:
    """A warehouse whose query returns no rows."""

    project = "my-project"

    def query(self, *_: object, **__: object) -> list[object]:
        """Return nothing."""
        return []


def test_no_rows_are_an_error() -> None:
    """A ledger that could not be read must not look like an empty one."""
    with pytest.raises(WarehouseUnavailable):
        read_ledger(_NoAnswer(), "account_scoring", WINDOW, limit=1)  # type: ignore[arg-type] # what is asked of it


@pytest.mark.parametrize("since", [UNTIL, UNTIL + dt.timedelta(days=1), UNTIL - GRACE])
def test_a_window_in_which_nothing_could_be_overdue_is_refused(since: dt.datetime) -> None:
    """The result would always be ok."""
    with pytest.raises(ValueError, match="--since"):
        Window(since=since, until=UNTIL, grace=GRACE)


def test_the_document_has_every_part() -> None:
    """By the names that scripts use."""
    document = _judge([ledger_row("received", "e", recorded_at=WINDOW.since)]).document()
    assert {
        name: document[name] for name in ("since", "until", "grace_seconds", "events", "unexplained", "double")
    } == {
        "since": "2026-03-01T12:00:00+00:00",
        "until": "2026-03-02T12:00:00+00:00",
        "grace_seconds": 900.0,
        "events": 1,
        "unexplained": 1,
        "double": 0,
    }
    assert Counter(document["counts"]) == Counter(received=1)
    assert document["ok"] is False
