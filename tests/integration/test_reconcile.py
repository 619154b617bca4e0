"""Reconciling a ledger in the warehouse: each case is a set of rows of the table."""

import datetime as dt
import io
import json
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console
from typer.testing import CliRunner

from pipeline.backfill.warehouse import read_account_ids
from pipeline.cli import app
from pipeline.ledger.ledger_groups import Window, read_ledger
from pipeline.ledger.reconcile import reconcile, render
from pipeline.ledger.reconciliation import Reconciliation, judge
from pipeline.resources.names import SCORING_DATASET
from pipeline.terminal.times import rfc3339
from schemas.failures import ErrorClass
from schemas.outcome import Outcome, OutcomeKind, SkipReason
from schemas.tables import CHANGE_OUTCOMES
from tests.fixtures.changes import account_id
from tests.fixtures.examples import of_this_run
from tests.fixtures.ledger import grouped, ledger_row
from transforms.clients.bigquery import Warehouse
from transforms.errors import WarehouseUnavailable

UNTIL = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
LONG_AGO = UNTIL - dt.timedelta(hours=2)
JUST_NOW = UNTIL - dt.timedelta(minutes=5)
WINDOW = Window(since=UNTIL - dt.timedelta(hours=24), until=UNTIL, grace=dt.timedelta(minutes=15))


def _row(outcome: str, event: int = 1, **fields: Any) -> Outcome:
    return ledger_row(outcome, f"{event:032x}", **{"recorded_at": LONG_AGO} | fields)


def _reconcile(warehouse: Warehouse, *rows: Outcome, since: str = "24h", limit: int = 20) -> dict[str, Any]:
    warehouse.replace_rows(SCORING_DATASET, CHANGE_OUTCOMES, rows)
    result = reconcile(
        project=warehouse.project, dataset=SCORING_DATASET, since=since, grace="15m", limit=limit, now=lambda: UNTIL
    )
    return result.document()


def _totals(document: dict[str, Any]) -> tuple[int, int, int, bool]:
    return document["pending"], document["unexplained"], document["double"], document["ok"]


def _counted(document: dict[str, Any]) -> dict[str, int]:
    return {name: count for name, count in document["counts"].items() if count}


def test_an_empty_ledger_is_ok(warehouse: Warehouse) -> None:
    """Nothing was received and nothing is missing; every outcome is listed with 0."""
    document = _reconcile(warehouse)
    assert document["events"] == 0
    assert document["counts"] == dict.fromkeys(map(str, OutcomeKind), 0)
    assert _totals(document) == (0, 0, 0, True)


@pytest.mark.parametrize(
    "final",
    [
        "scored",
        "tombstoned",
        "skipped:immaterial",
        "skipped:stale",
        "skipped:own_write",
        "coalesced",
        "dead_lettered:gemini_timeout",
        "resync_requested",
    ],
)
@pytest.mark.parametrize("account", [account_id(1), None])
def test_an_event_with_an_outcome_is_explained(warehouse: Warehouse, final: str, account: str | None) -> None:
    """Every event needs one outcome, with an account or without."""
    document = _reconcile(warehouse, _row("received", account_id=account), _row(final, account_id=account))
    assert _totals(document) == (0, 0, 0, True)
    assert document["events"] == 1
    assert _counted(document) == dict.fromkeys({"received", final, final.partition(":")[0]}, 1)


def test_a_related_record_counts_with_the_accounts_that_were_found(warehouse: Warehouse) -> None:
    """It was received without an account, and again with each that was found: a moved record has two."""
    unnamed = _row("received", account_id=None)
    found = [_row(it, account_id=account_id(number)) for number in (1, 2) for it in ("received", "scored")]
    document = _reconcile(warehouse, unnamed, *found)
    assert _totals(document) == (0, 0, 0, True)
    assert document["events"] == 2
    assert _counted(document) == {"received": 2, "scored": 2}


@pytest.mark.parametrize(("recorded_at", "totals"), [(JUST_NOW, (1, 0, 0, True)), (LONG_AGO, (0, 1, 0, False))])
def test_a_look_up_that_never_ended_is_missed(
    warehouse: Warehouse, recorded_at: dt.datetime, totals: tuple[int, int, int, bool]
) -> None:
    """Before the account was found, and after it; another event, another replay, or its own outcome is no answer."""
    unnamed = _row("received", account_id=None, recorded_at=recorded_at)
    others = [_row("scored", 2), _row("scored", replay_count=1)]
    assert _totals(_reconcile(warehouse, unnamed, *others)) == totals
    (listed,) = _reconcile(warehouse, unnamed, *others)["oldest_unexplained"] or [None]
    assert (listed is None) == (recorded_at == JUST_NOW)
    found = _row("received", recorded_at=recorded_at)
    assert _totals(_reconcile(warehouse, unnamed, found)) == totals


def test_an_account_that_was_not_found_stays_an_outcome(warehouse: Warehouse) -> None:
    """Also if a second delivery found it: each delivery has its own outcome."""
    not_found = [_row("received", account_id=None), _row("dead_lettered:account_not_named", account_id=None)]
    again = [_row("received", account_id=None, recorded_at=JUST_NOW), _row("received"), _row("scored")]
    document = _reconcile(warehouse, *not_found, *again)
    assert _totals(document) == (0, 0, 0, True)
    assert (document["events"], document["counts"]["dead_lettered"], document["counts"]["scored"]) == (2, 1, 1)


@pytest.mark.parametrize("account", [account_id(1), None])
def test_an_event_without_an_outcome_is_unexplained_after_the_grace_period(
    warehouse: Warehouse, account: str | None
) -> None:
    """Before that it is pending; the listing has its ledger rows' values."""
    received = _row("received", account_id=account, entity_name="Account", change_type="UPDATE", message_id="m1")
    document = _reconcile(warehouse, received, _row("received", 2, account_id=account, recorded_at=JUST_NOW))
    assert _totals(document) == (1, 1, 0, False)
    (listed,) = document["oldest_unexplained"]
    assert listed == {
        "event_id": received.event_id,
        "account_id": account,
        "replay_count": 0,
        "entity_name": "Account",
        "record_id": None,
        "change_type": "UPDATE",
        "first_recorded_at": rfc3339(LONG_AGO),
        "received_at": rfc3339(LONG_AGO),
        "published_at": None,
        "message_id": "m1",
        "trace_id": received.trace_id,
        "outcomes": (),
        "deliveries": 1,
    }


@pytest.mark.parametrize("account", [account_id(1), None])
def test_rows_that_repeat_count_once(warehouse: Warehouse, account: str | None) -> None:
    """Pub/Sub and BigQuery may repeat rows later; the event that a change was coalesced into does not matter."""
    rows = [
        _row(outcome, account_id=account, recorded_at=LONG_AGO + dt.timedelta(minutes=minutes), coalesced_into=into)
        for minutes in range(3)
        for outcome, into in (("received", None), ("coalesced", f"into-{minutes}"))
    ]
    document = _reconcile(warehouse, *rows)
    assert _totals(document) == (0, 0, 0, True)
    assert _counted(document) == {"received": 1, "coalesced": 1}


@pytest.mark.parametrize("account", [account_id(1), None])
@pytest.mark.parametrize(
    ("first", "second", "standing"),
    [
        ("scored", "skipped:unchanged_context", "scored"),
        ("coalesced", "scored", "scored"),
        ("scored", "skipped:stale", "scored"),
        ("dead_lettered:gemini_unavailable", "scored", "scored"),
        ("scored", "dead_lettered:gemini_unavailable", "scored"),
        ("skipped:unchanged_context", "coalesced", "skipped:unchanged_context"),
    ],
)
def test_an_outcome_of_each_delivery_is_one_outcome(
    warehouse: Warehouse, account: str | None, first: str, second: str, standing: str
) -> None:
    """After a recovery an event is delivered again, and a new job may decide otherwise: the better outcome counts."""
    rows = [
        _row(it, account_id=account, recorded_at=at)
        for at, final in ((LONG_AGO, first), (JUST_NOW, second))
        for it in ("received", final)
    ]
    document = _reconcile(warehouse, *rows)
    assert _totals(document) == (0, 0, 0, True)
    assert document["redelivered"] == 1
    assert _counted(document) == dict.fromkeys({"received", standing, standing.partition(":")[0]}, 1)
    third = _row("tombstoned", account_id=account, recorded_at=JUST_NOW)
    assert _totals(_reconcile(warehouse, *rows, third)) == (0, 0, 1, False)


@pytest.mark.parametrize("account", [account_id(1), None])
def test_two_different_outcomes_of_one_delivery_are_a_double(warehouse: Warehouse, account: str | None) -> None:
    """The same outcome with another reason is a second outcome, too."""
    document = _reconcile(
        warehouse,
        *(_row(it, 1, account_id=account) for it in ("received", "scored", "skipped:unchanged_context")),
        *(_row(it, 2, account_id=account) for it in ("received", "dead_lettered:gemini_timeout")),
        _row("dead_lettered:invalid_score", 2, account_id=account, recorded_at=JUST_NOW),
    )
    assert _totals(document) == (0, 0, 2, False)
    assert [(double["account_id"], double["outcomes"]) for double in document["doubles"]] == [
        (account, ("scored", "skipped:unchanged_context")),
        (account, ("dead_lettered:gemini_timeout", "dead_lettered:invalid_score")),
    ]
    assert document["counts"]["dead_lettered"] == 1


def test_a_double_is_reported_before_the_grace_period_is_over(warehouse: Warehouse) -> None:
    """A double outcome is an error at once."""
    rows = (_row(it, recorded_at=JUST_NOW) for it in ("received", "scored", "coalesced"))
    assert _totals(_reconcile(warehouse, *rows)) == (0, 0, 1, False)


@pytest.mark.parametrize("other", ["scored", "tombstoned", "skipped:unchanged_context"])
def test_a_refused_row_supersedes_its_score(warehouse: Warehouse, other: str) -> None:
    """The score was recorded before BigQuery refused its row: the dead letter is the outcome."""
    document = _reconcile(warehouse, *(_row(it) for it in ("received", other, "dead_lettered:row_rejected")))
    assert _totals(document) == (0, 0, 0, True)
    assert _counted(document) == {"received": 1, "dead_lettered": 1, "dead_lettered:row_rejected": 1}


def test_another_dead_letter_beside_a_score_is_a_double(warehouse: Warehouse) -> None:
    """Only a refused row explains both a score and a dead letter."""
    document = _reconcile(warehouse, *(_row(it) for it in ("received", "scored", "dead_lettered:gemini_timeout")))
    assert _totals(document) == (0, 0, 1, False)


@pytest.mark.parametrize("account", [account_id(1), None])
def test_a_duplicate_is_not_a_second_outcome(warehouse: Warehouse, account: str | None) -> None:
    """A duplicate is the outcome of a second delivery, and is counted separately."""
    rows = (_row(it, account_id=account) for it in ("received", "received", "scored", "skipped:duplicate"))
    document = _reconcile(warehouse, *rows)
    assert _totals(document) == (0, 0, 0, True)
    assert _counted(document) == {"received": 1, "scored": 1, "skipped:duplicate": 1}


@pytest.mark.parametrize("account", [account_id(1), None])
def test_a_duplicate_alone_is_not_an_outcome(warehouse: Warehouse, account: str | None) -> None:
    """An event whose every delivery was dropped as a duplicate is lost."""
    document = _reconcile(warehouse, *(_row(it, account_id=account) for it in ("received", "skipped:duplicate")))
    assert _totals(document) == (0, 1, 0, False)
    assert document["oldest_unexplained"][0]["outcomes"] == ("skipped:duplicate",)


def test_an_event_received_before_the_window_is_ok(warehouse: Warehouse) -> None:
    """An outcome in the window counts, although `received` is older; a longer window gives the same."""
    before = WINDOW.since - dt.timedelta(hours=1)
    rows = (_row("received", recorded_at=before), _row("scored"), _row("skipped:duplicate", 2))
    document = _reconcile(warehouse, *rows)
    assert _totals(document) == (0, 0, 0, True)
    assert document["without_received"] == 2
    assert _counted(document) == {"scored": 1, "skipped:duplicate": 1}
    assert _reconcile(warehouse, *rows, since="2d")["without_received"] == 1


def test_rows_outside_the_window_are_ignored(warehouse: Warehouse) -> None:
    """Only the partitions of the window are read."""
    older, newer = WINDOW.since - dt.timedelta(seconds=1), UNTIL + dt.timedelta(seconds=1)
    assert (
        _reconcile(warehouse, _row("received", 1, recorded_at=older), _row("received", 2, recorded_at=newer))["events"]
        == 0
    )


def test_what_is_lost_is_found_with_what_to_type(warehouse: Warehouse, tmp_path: Path) -> None:
    """The seek starts before the oldest publication of all lost events, also of those that the listing leaves out."""
    published = LONG_AGO - dt.timedelta(minutes=2)
    rows = [
        _row("received", 1, recorded_at=LONG_AGO - dt.timedelta(hours=1), published_at=LONG_AGO),
        _row("received", 2, account_id=account_id(2), published_at=published),
        _row("received", 3, account_id=None, message_id="backfill/2026-03-01T00:00:00Z/1"),
        _row("received", 4, account_id=account_id(4)),
        _row("scored", 4, account_id=account_id(4)),
    ]
    warehouse.replace_rows(SCORING_DATASET, CHANGE_OUTCOMES, rows)
    file = tmp_path / "accounts.txt"
    result = reconcile(
        project=warehouse.project,
        dataset=SCORING_DATASET,
        since="24h",
        grace="15m",
        limit=1,
        accounts_file=file,
        now=lambda: UNTIL,
    )
    document = result.document()
    screen = io.StringIO()
    Console(file=screen, width=200).print(render(result))
    assert "1 of 3 events without an outcome, the oldest first" in screen.getvalue()
    assert (document["unexplained"], document["retained_by_pubsub"], document["written_accounts"]) == (3, 2, 2)
    assert document["oldest_unexplained"][0]["published_at"] == rfc3339(LONG_AGO)
    assert document["first_lost_published_at"] == rfc3339(published)
    assert document["commands"] == [
        f"rescore recover --to 2026-03-02T09:48:00Z --project={warehouse.project}",
        f"rescore backfill --accounts {file} --project={warehouse.project}",
    ]
    assert read_account_ids(file) == sorted([account_id(1), account_id(2)])


def test_pending_events_have_a_time(warehouse: Warehouse) -> None:
    """A scheduler sees that the ledger is fine so far, that it is no all-clear, and since when nothing was written."""
    earlier = JUST_NOW - dt.timedelta(minutes=2)
    rows = [_row("received", recorded_at=earlier), _row("received", 2, recorded_at=JUST_NOW), _row("scored", 3)]
    document = _reconcile(warehouse, *rows)
    assert (document["ok"], document["all_clear"], document["pending"]) == (True, False, 2)
    assert document["pending_since"] == rfc3339(earlier)
    assert document["last_recorded_at"] == rfc3339(JUST_NOW)


def test_a_replay_needs_an_outcome_of_its_own(warehouse: Warehouse) -> None:
    """A dead letter and the score of its replay are counted separately; a lost replay is found."""
    first = [_row("received"), _row("dead_lettered:gemini_timeout")]
    document = _reconcile(warehouse, *first, _row("received", replay_count=1), _row("scored", replay_count=1))
    assert _totals(document) == (0, 0, 0, True)
    assert document["events"] == 2
    document = _reconcile(warehouse, *first, _row("received", replay_count=1))
    assert [lost["replay_count"] for lost in document["oldest_unexplained"]] == [1]


def test_one_event_of_two_accounts_needs_two_outcomes(warehouse: Warehouse) -> None:
    """The outcome of one account is not the outcome of the other."""
    accounts = (account_id(1), account_id(2))
    rows = [_row("received", account_id=account) for account in accounts]
    document = _reconcile(warehouse, *rows, _row("scored", account_id=account_id(1)))
    assert [lost["account_id"] for lost in document["oldest_unexplained"]] == [account_id(2)]
    assert document["counts"]["received"] == 2


def test_listings_are_bounded_and_have_the_oldest(warehouse: Warehouse) -> None:
    """Totals count all events; listings start with the oldest."""
    rows = [
        row
        for number in range(1, 31)
        for recorded_at in [LONG_AGO - dt.timedelta(minutes=number)]
        for row in (
            _row("received", number, recorded_at=recorded_at),
            *([_row("skipped:duplicate", number, recorded_at=recorded_at)] if number % 2 else []),
            *(_row(it, 100 + number, recorded_at=recorded_at) for it in ("received", "scored", "coalesced")),
        )
    ]
    random.Random(1).shuffle(rows)
    document = _reconcile(warehouse, *rows, limit=4)
    assert (document["unexplained"], document["double"]) == (30, 30)
    assert [listed["event_id"] for listed in document["oldest_unexplained"]] == [f"{n:032x}" for n in (30, 29, 28, 27)]
    assert [listed["event_id"] for listed in document["doubles"]] == [f"{n:032x}" for n in (130, 129, 128, 127)]


@pytest.mark.parametrize("number", range(of_this_run(ordinary=3, slow=30)))
def test_the_query_groups_as_its_model_does(warehouse: Warehouse, number: int, run_seed: int) -> None:
    """For arbitrary ledgers the warehouse and a simple model of the query give the same result."""
    rows = list(_anything(random.Random(run_seed + number), 400))
    warehouse.replace_rows(SCORING_DATASET, CHANGE_OUTCOMES, rows)

    def judged(groups: Iterable[Any]) -> Reconciliation:
        return judge(groups, WINDOW, limit=7)

    assert judged(read_ledger(warehouse, SCORING_DATASET, WINDOW, limit=7)) == judged(grouped(rows, WINDOW))


def _anything(chance: random.Random, count: int) -> Iterable[Outcome]:
    names = [
        *("received", "scored", "tombstoned", "coalesced", "resync_requested"),
        *(f"skipped:{reason}" for reason in SkipReason),
        *(f"dead_lettered:{error}" for error in (ErrorClass.ROW_REJECTED, ErrorClass.GEMINI_TIMEOUT)),
    ]
    for _ in range(count):
        yield _row(
            chance.choice(names),
            chance.randrange(60),
            account_id=chance.choice([None, account_id(1)]),
            replay_count=chance.choice([0, 0, 1]),
            recorded_at=UNTIL - dt.timedelta(minutes=chance.randrange(-10, 26 * 60)),
            message_id=chance.choice([None, "m1", "m2", "backfill/2026-03-01T00:00:00Z/1"]),
            published_at=chance.choice([None, WINDOW.since, UNTIL - dt.timedelta(days=8)]),
        )


def test_the_command_prints_one_document_and_exits_1_if_something_is_wrong(warehouse: Warehouse) -> None:
    """With the defaults of the command; a ledger without errors exits 0."""
    received = _row("received", recorded_at=dt.datetime.now(dt.UTC) - dt.timedelta(hours=1))
    scored = replace(received, outcome=OutcomeKind.SCORED)
    arguments = ["reconcile", "--json", "--project", warehouse.project]
    warehouse.replace_rows(SCORING_DATASET, CHANGE_OUTCOMES, [received])
    command = [sys.executable, "-m", "pipeline", *arguments]
    wrong = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert wrong.returncode == 1, wrong.stderr
    warehouse.replace_rows(SCORING_DATASET, CHANGE_OUTCOMES, [received, scored])
    right = CliRunner().invoke(app, arguments)
    assert right.exit_code == 0, right.stderr
    for output, unexplained in ((wrong.stdout, 1), (right.stdout, 0)):
        document = json.loads(output)
        assert (document["events"], document["unexplained"], document["ok"]) == (1, unexplained, not unexplained)
        assert document["grace_seconds"] == 900


@pytest.mark.parametrize("dataset", ["missing", "account_scoring` --"])
def test_a_dataset_that_is_not_there_is_named(warehouse: Warehouse, dataset: str) -> None:
    """The error names the dataset, and a name never becomes SQL."""
    with pytest.raises((WarehouseUnavailable, ValueError), match=dataset):
        reconcile(project=warehouse.project, dataset=dataset, since="24h", grace="15m", limit=1)
