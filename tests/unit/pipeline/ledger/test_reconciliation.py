"""The verdict over a ledger: for any multiset of rows, and for what a user types as a time."""

import datetime as dt
import io
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.ledger.reconcile import as_json, render
from pipeline.ledger.reconciliation import (
    Reconciliation,
    Verdict,
    Window,
    judge,
    parse_duration,
    parse_since,
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
def test_each_event_has_one_verdict_which_its_rows_prove(rows: list[Outcome]) -> None:
    """Events are what was recorded, each judged once: by whether it is due, and by how many outcomes stand."""
    result = _judge(rows, limit=1_000)
    unexplained = {(it.event_id, it.account_id, it.replay_count) for it in result.oldest_unexplained}
    double = {(it.event_id, it.account_id, it.replay_count) for it in result.doubles}
    pairs = _recorded(rows)
    assert result.events == len(pairs)
    assert len(unexplained) == result.verdicts[Verdict.UNEXPLAINED]
    assert len(double) == result.verdicts[Verdict.DOUBLE]
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
    """At-least-once delivery of the ledger itself is invisible."""
    repeated = [*rows, *rows[::2], *reversed(rows)]
    assert _judge(repeated) == _judge(rows)


@given(_ROWS)
def test_the_counts_balance(rows: list[Outcome]) -> None:
    """What was counted by outcome is what has outcomes; a total is the sum of its reasons, without duplicates."""
    result = _judge(rows)
    kinds = [kind for kind in OutcomeKind if kind is not OutcomeKind.RECEIVED]
    explained_with_outcome = result.verdicts[Verdict.EXPLAINED] - _only_delivered_again(rows)
    total = sum(result.counts[kind] for kind in kinds)
    assert total >= explained_with_outcome + result.verdicts[Verdict.DOUBLE]
    if not result.verdicts[Verdict.DOUBLE]:
        assert total == explained_with_outcome
        by_reason = [(name, count) for name, count in result.counts.items() if ":" in name and "duplicate" not in name]
        for kind in (OutcomeKind.SKIPPED, OutcomeKind.DEAD_LETTERED):
            assert result.counts[kind] == sum(count for name, count in by_reason if name.startswith(f"{kind}:"))


def _only_delivered_again(rows: list[Outcome]) -> int:
    return sum(all(row.reason is SkipReason.DUPLICATE for row in of_pair) for of_pair in _recorded(rows).values())


@given(_ROWS, st.integers(1, 4))
def test_listings_have_the_oldest_and_no_more_than_the_limit(rows: list[Outcome], limit: int) -> None:
    """A bounded listing is the beginning of the whole one; totals don't depend on it."""
    bounded, whole = _judge(rows, limit), _judge(rows, 1_000)
    assert bounded.oldest_unexplained == whole.oldest_unexplained[:limit]
    assert bounded.doubles == whole.doubles[:limit]
    assert (bounded.counts, bounded.verdicts) == (whole.counts, whole.verdicts)
    times = [event.first_recorded_at for event in whole.oldest_unexplained]
    assert times == sorted(times)


@given(_ROWS)
def test_any_result_can_be_shown_and_printed(rows: list[Outcome]) -> None:
    """Whatever the ledger holds, the report and the document come to an end."""
    result = _judge(rows)
    assert as_json(result).startswith("{")
    assert _shown(result)


def test_the_report_says_what_to_do_next() -> None:
    """For a person: which events, and where to look; for a ledger in order, that it is."""
    lost = _shown(_judge([ledger_row("received", "e17", recorded_at=WINDOW.since)]))
    assert "e17" in lost
    assert "oldest unacknowledged message" in lost
    assert "every event that is due has one outcome" not in lost
    assert "every event that is due has one outcome" in _shown(_judge([]))


def test_what_events_say_is_shown_as_text() -> None:
    """An entity's name is a stranger's: it is no markup, and moves no cursor."""
    row = ledger_row("received", "lost", recorded_at=WINDOW.since, entity_name="[bold]Ac\x1b[2Jme")
    assert "[bold]Ac�[2Jme" in _shown(_judge([row]))


def _shown(result: Reconciliation) -> str:
    screen = io.StringIO()
    Console(width=100, file=screen).print(render(result))
    return screen.getvalue()


class _NoAnswer:
    """A warehouse whose query fails without saying so, as an answer without rows."""

    project = "my-project"

    def query(self, *_: object, **__: object) -> list[object]:
        """Return nothing."""
        return []


def test_no_answer_is_no_ledger_in_order() -> None:
    """A ledger that could not be read must not pass for an empty one."""
    with pytest.raises(WarehouseUnavailable):
        read_ledger(_NoAnswer(), "account_scoring", WINDOW, limit=1)  # type: ignore[arg-type] # what is asked of it


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("24h", 86_400), ("7d", 604_800), (" 1w ", 604_800), ("0m", 0)]
)
def test_durations_are_a_number_and_a_unit(text: str, seconds: int) -> None:
    """Each unit is its first letter."""
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "15", "m", "1.5h", "-1h", "15 minutes", "1h30m", "٣h"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    """The message says how one is written."""
    with pytest.raises(ValueError, match="such as 15m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("24h", dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)),
        ("2026-03-01", dt.datetime(2026, 3, 1, tzinfo=dt.UTC)),
        ("2026-03-01T09:30", dt.datetime(2026, 3, 1, 9, 30, tzinfo=dt.UTC)),
        ("2026-03-01T09:30:00Z", dt.datetime(2026, 3, 1, 9, 30, tzinfo=dt.UTC)),
        ("2026-03-01 09:30+02:00", dt.datetime(2026, 3, 1, 7, 30, tzinfo=dt.UTC)),
    ],
)
def test_since_is_a_duration_or_an_iso_time(text: str, time: dt.datetime) -> None:
    """Durations count back from now; what says no zone is UTC."""
    assert parse_since(text, UNTIL) == time


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "999999w", "0001-01-01T00:00+14:00"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    """So is what lies before all time."""
    with pytest.raises(ValueError, match="7d"):
        parse_since(text, UNTIL)


@pytest.mark.parametrize("since", [UNTIL, UNTIL + dt.timedelta(days=1), UNTIL - GRACE])
def test_a_window_in_which_nothing_could_be_overdue_is_refused(since: dt.datetime) -> None:
    """It would always be in order."""
    with pytest.raises(ValueError, match="--since"):
        Window(since=since, until=UNTIL, grace=GRACE)


def test_the_document_has_every_part() -> None:
    """What scripts rely on, by name."""
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
