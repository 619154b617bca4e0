"""Reconciling a ledger, for any multiset of rows."""

import datetime as dt
import io
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.ledger.ledger_groups import EventState, Window, read_ledger
from pipeline.ledger.lost_events import recovery_commands
from pipeline.ledger.reconcile import render
from pipeline.ledger.reconciliation import Reconciliation, judge
from schemas.failures import ErrorClass
from schemas.outcome import Outcome, OutcomeKind, SkipReason
from schemas.standing_outcome import final_outcomes, is_contradictory, recorded_as
from tests.fixtures.changes import account_id
from tests.fixtures.ledger import deliveries, grouped, ledger_row, without_answered
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
        lambda outcome, event, account, replay, minutes, message, published: ledger_row(
            outcome,
            f"{event:032x}",
            account_id=account,
            replay_count=replay,
            recorded_at=UNTIL - dt.timedelta(minutes=minutes),
            message_id=message,
            published_at=published,
        ),
        _OUTCOMES,
        st.integers(0, 5),
        st.sampled_from([None, account_id(1)]),
        st.integers(0, 1),
        st.integers(0, 40),
        st.sampled_from([None, "m1", "backfill/2026-03-01T00:00:00Z/1"]),
        st.sampled_from([None, UNTIL - dt.timedelta(minutes=41)]),
    )
)


def _reconciled(rows: Iterable[Outcome]) -> Reconciliation:
    """Return the result with its commands, as `rescore reconcile` makes it."""
    result = _judge(rows)
    commands = recovery_commands(
        result.lost, WINDOW, project="my-project", dataset="account_scoring", grace="15m", accounts_file=None
    )
    return replace(result, commands=commands)


def _judge(rows: Iterable[Outcome], limit: int = 20) -> Reconciliation:
    return judge(grouped(rows, WINDOW), WINDOW, limit=limit)


def _recorded(rows: list[Outcome]) -> dict[tuple[str, str | None, int], list[Outcome]]:
    pairs: dict[tuple[str, str | None, int], list[Outcome]] = {}
    for row in without_answered(rows):
        pairs.setdefault((row.event_id, row.account_id, row.replay_count), []).append(row)
    return pairs


@given(_ROWS)
def test_each_event_has_one_state(rows: list[Outcome]) -> None:
    """By whether it is overdue, and by the number of its deliveries and of its final outcomes."""
    result = _judge(rows, limit=1_000)
    unexplained = {(it.event_id, it.account_id, it.replay_count) for it in result.oldest_unexplained}
    double = {(it.event_id, it.account_id, it.replay_count) for it in result.doubles}
    events = _recorded(rows)
    assert result.events == len(events)
    assert len(unexplained) == result.states[EventState.UNEXPLAINED] == result.lost.events
    assert len(double) == result.states[EventState.DOUBLE]
    for event, of_event in events.items():
        received = [row.recorded_at for row in of_event if row.outcome is OutcomeKind.RECEIVED]
        said = [recorded_as(row) for row in of_event]
        assert (event in double) == is_contradictory(said, deliveries(of_event))
        is_lost = not final_outcomes(said) and bool(received)
        assert (event in unexplained) == (is_lost and min(received) <= UNTIL - GRACE)
    assert result.is_ok == (not unexplained and not double)
    assert result.is_all_clear == (result.is_ok and not result.pending)


@given(_ROWS)
def test_rows_that_repeat_in_another_order_change_nothing(rows: list[Outcome]) -> None:
    """At-least-once delivery of ledger rows does not matter."""
    repeated = [*rows, *rows[::2], *reversed(rows)]
    assert _judge(repeated) == _judge(rows)


@given(_ROWS)
def test_the_counts_balance(rows: list[Outcome]) -> None:
    """Each event counts under one outcome, unless its outcomes contradict each other; reasons add up."""
    result = _judge(rows)
    kinds = [kind for kind in OutcomeKind if kind is not OutcomeKind.RECEIVED]
    explained = result.states[EventState.EXPLAINED] - _only_delivered_again(rows)
    total = sum(result.counts[kind] for kind in kinds)
    assert total >= explained + result.states[EventState.DOUBLE]
    if not result.states[EventState.DOUBLE]:
        assert total == explained
        by_reason = [(name, count) for name, count in result.counts.items() if ":" in name and "duplicate" not in name]
        for kind in (OutcomeKind.SKIPPED, OutcomeKind.DEAD_LETTERED):
            assert result.counts[kind] == sum(count for name, count in by_reason if name.startswith(f"{kind}:"))


def _only_delivered_again(rows: list[Outcome]) -> int:
    """Count the events of which the window has no delivery but the ones that were dropped as duplicates."""
    return sum(all(row.reason is SkipReason.DUPLICATE for row in of_event) for of_event in _recorded(rows).values())


@given(_ROWS)
def test_what_is_lost_can_come_from_pubsub_or_from_the_mirror(rows: list[Outcome]) -> None:
    """From Pub/Sub, if it was published and is retained: the seek starts before the oldest of these events."""
    result = _judge(rows, limit=1_000)
    retained = [it for it in result.oldest_unexplained if not (it.message_id or "").startswith("backfill/")]
    assert (result.lost.retained, result.lost.others) == (len(retained), len(result.oldest_unexplained) - len(retained))
    oldest = min((it.published_at or it.first_recorded_at for it in retained), default=None)
    assert result.lost.retained_since == oldest
    commands = recovery_commands(
        result.lost, WINDOW, project="p", dataset="account_scoring", grace="15m", accounts_file=None
    )
    assert [command.split()[1] for command in commands] == [
        *(["recover"] if retained else []),
        *(["reconcile", "backfill"] if result.lost.others else []),
    ]


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
    """Which events are wrong, when they were published, and what to type; or that nothing is wrong."""
    row = ledger_row("received", "e17", recorded_at=WINDOW.since, published_at=WINDOW.since - dt.timedelta(minutes=1))
    lost = _shown(_reconciled([row]))
    assert "e17" in lost
    assert "2026-03-01 11:59:00" in lost
    assert "oldest unacknowledged message" in lost
    assert "   rescore recover --to 2026-03-01T11:49:00Z --project=my-project" in lost.splitlines()
    assert "every event has one outcome" not in lost
    assert "every event has one outcome" in _shown(_judge([]))


def test_what_pubsub_dropped_is_scored_from_the_mirror() -> None:
    """After the retention, and for the events of a backfill: a file of accounts, and a backfill of them."""
    window = Window(since=UNTIL - dt.timedelta(days=30), until=UNTIL, grace=GRACE)
    old = ledger_row("received", "old", recorded_at=UNTIL - dt.timedelta(days=7))
    of_backfill = ledger_row("received", "new", recorded_at=WINDOW.since, message_id="backfill/2026-03-01T00:00:00Z/1")
    result = judge(grouped([old, of_backfill], window), window, limit=1)
    assert (result.lost.retained, result.lost.others) == (0, 2)
    commands = recovery_commands(
        result.lost, window, project="my-project", dataset="other", grace="15m", accounts_file=None
    )
    where = "--project=my-project --dataset=other"
    assert commands == (
        f"rescore reconcile --since 2026-01-31T12:00:00Z --grace 15m --write-accounts lost-accounts.txt {where}",
        f"rescore backfill --accounts lost-accounts.txt {where}",
    )
    written = recovery_commands(
        result.lost, window, project="my-project", dataset="other", grace="15m", accounts_file=Path("a b.txt")
    )
    assert written == (f"rescore backfill --accounts 'a b.txt' {where}",)


def test_pending_events_are_no_all_clear() -> None:
    """The report says how many there are, since when, how long the ledger is quiet, and how to list them after all."""
    result = _judge([ledger_row("received", "e", recorded_at=UNTIL - dt.timedelta(minutes=3))])
    assert result.is_ok
    assert not result.is_all_clear
    shown = " ".join(_shown(result).split())
    assert "1 event pending: the oldest was received 3 minutes ago, and is due at 12:12:00 UTC" in shown
    assert "The ledger's last row was written 3 minutes ago. This is no all-clear" in shown
    assert "--grace 0s" in shown
    assert "every event has one outcome" not in shown


@pytest.mark.parametrize("second", ["skipped:unchanged_context", "skipped:stale", "coalesced", "skipped:duplicate"])
def test_a_second_delivery_is_no_second_outcome(second: str) -> None:
    """After a recovery an event that was scored is delivered again: it counts once, as scored."""
    first = [ledger_row(it, "e", recorded_at=WINDOW.since) for it in ("received", "scored")]
    again = [ledger_row(it, "e", recorded_at=WINDOW.since + dt.timedelta(hours=1)) for it in ("received", second)]
    result = _judge([*first, *again])
    assert result.is_all_clear
    assert result.redelivered == 1
    counted = {name: count for name, count in result.counts.items() if count and name != "skipped:duplicate"}
    assert counted == {"received": 1, "scored": 1}


def test_an_outcome_before_the_first_received_row_is_of_an_earlier_delivery() -> None:
    """The window began between the receipt and the score of the first delivery."""
    scored = ledger_row("scored", "e", recorded_at=WINDOW.since)
    again = [
        ledger_row(it, "e", recorded_at=WINDOW.since + dt.timedelta(hours=1))
        for it in ("received", "skipped:unchanged_context")
    ]
    assert _judge([scored, *again]).is_all_clear
    assert _judge(again).redelivered == 0


def test_what_events_say_is_shown_as_text() -> None:
    """An entity's name acts neither as markup nor as a control sequence."""
    row = ledger_row("received", "lost", recorded_at=WINDOW.since, entity_name="[bold]Ac\x1b[2Jme")
    assert "[bold]Ac�[2Jme" in _shown(_judge([row]))


def _shown(result: Reconciliation) -> str:
    screen = io.StringIO()
    Console(width=100, file=screen).print(render(result), crop=False)
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
        "since": "2026-03-01T12:00:00Z",
        "until": "2026-03-02T12:00:00Z",
        "grace_seconds": 900.0,
        "events": 1,
        "unexplained": 1,
        "double": 0,
    }
    assert Counter(document["counts"]) == Counter(received=1)
    assert document["ok"] is False
