"""The plan of a recovery, from a ledger in the warehouse and a subscription on the embedded broker."""

import datetime as dt
import io

import pytest
from rich.console import Console

from pipeline.dead_letters.recover import Recovery
from pipeline.dead_letters.recovery_plan import ExecutedRecovery, RecoveryPlan, plan_recovery, render, render_executed
from pipeline.resources.names import SCORING_DATASET
from schemas.outcome import Outcome
from schemas.tables import ACCOUNT_SCORES, CHANGE_OUTCOMES
from tests.fixtures.changes import account_id
from tests.fixtures.ledger import ledger_row
from tests.fixtures.shared_servers import SharedServers
from tests.integration.pubsub_targets import Target
from transforms.clients.bigquery import Warehouse

NOW = dt.datetime.now(dt.UTC)
TO = (NOW - dt.timedelta(hours=1)).replace(microsecond=0)
BEFORE, AFTER = TO - dt.timedelta(minutes=5), TO + dt.timedelta(minutes=5)


@pytest.fixture
def broker(servers: SharedServers, monkeypatch: pytest.MonkeyPatch) -> Target:
    """Return the embedded broker, which Google's clients find."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", servers.pubsub.host)
    return servers.pubsub


def _row(outcome: str, number: int, published_at: dt.datetime, account: int | None = None) -> Outcome:
    return ledger_row(
        outcome,
        f"{number:032x}",
        account_id=account_id(account or number),
        published_at=published_at,
        recorded_at=published_at + dt.timedelta(seconds=1),
        message_id=f"m{number}",
    )


def _plan(warehouse: Warehouse, broker: Target, *rows: Outcome) -> RecoveryPlan:
    warehouse.replace_rows(SCORING_DATASET, CHANGE_OUTCOMES, rows)
    warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, [])
    subscription = broker.subscription(broker.topic(), retain_acked_messages=True)
    return plan_recovery(
        project=warehouse.project, dataset=SCORING_DATASET, to=TO, to_snapshot=None, subscription=subscription
    )


def _shown(plan: RecoveryPlan) -> str:
    screen = io.StringIO()
    Console(file=screen, width=100).print(render(plan), crop=False)
    return " ".join(screen.getvalue().split())


def test_a_plan_says_what_comes_again_and_what_it_may_cost(warehouse: Warehouse, broker: Target) -> None:
    """Events, accounts, events without an outcome, and scores: an account whose events were dropped costs nothing."""
    rows = [
        _row("received", 1, AFTER),
        _row("scored", 1, AFTER),
        _row("received", 2, AFTER, account=1),
        _row("received", 3, AFTER),
        _row("skipped:immaterial", 3, AFTER),
        _row("received", 4, TO),
        _row("skipped:duplicate", 4, TO),
        _row("received", 5, BEFORE),
        _row("scored", 5, BEFORE),
    ]
    plan = _plan(warehouse, broker, *rows)
    assert plan.since
    assert (plan.since.events, plan.since.accounts, plan.since.scores, plan.since.lost) == (4, 3, 2, 2)
    assert (plan.since.left_behind, plan.since.left_behind_since) == (0, None)
    document = plan.document()
    assert (document["cost"]["scores"], document["cost"]["tokens"], document["executed"]) == (2, 4_480, False)
    assert "4 events of 3 accounts" in _shown(plan)


def test_a_plan_says_what_the_seek_would_pass(warehouse: Warehouse, broker: Target) -> None:
    """Events without an outcome that were published before the time, and the time that includes them."""
    rows = [_row("received", 1, BEFORE), _row("received", 2, AFTER)]
    plan = _plan(warehouse, broker, *rows)
    assert plan.since
    assert (plan.since.left_behind, plan.since.left_behind_since) == (1, BEFORE)
    earlier = BEFORE - dt.timedelta(minutes=10)
    assert f"To include them: --to {earlier:%Y-%m-%dT%H:%M:%SZ}" in _shown(plan)


def test_what_was_done_says_what_the_seek_has_passed(warehouse: Warehouse, broker: Target) -> None:
    """In the report and the document, beside how to undo it."""
    plan = _plan(warehouse, broker, _row("received", 1, BEFORE), _row("received", 2, AFTER))
    done = ExecutedRecovery(plan, Recovery(plan.target, "projects/p/snapshots/taken"))
    screen = io.StringIO()
    Console(file=screen, width=200).print(render_executed(done), crop=False)
    assert "seeked past: 1 event without an outcome, the oldest published" in screen.getvalue()
    assert "rescore recover --to-snapshot taken" in screen.getvalue()
    document = done.document()
    assert (document["seeked_past"], document["snapshot"], document["executed"]) == (
        1,
        "projects/p/snapshots/taken",
        True,
    )


def test_an_empty_ledger_has_a_plan(warehouse: Warehouse, broker: Target) -> None:
    """What is unread comes again all the same."""
    plan = _plan(warehouse, broker)
    assert "0 events of 0 accounts, and what is unread" in _shown(plan)


def test_a_time_that_is_refused_needs_no_ledger(broker: Target) -> None:
    """The subscription is asked first."""
    subscription = broker.subscription(broker.topic())
    with pytest.raises(ValueError, match="does not retain"):
        plan_recovery(project="demo-project", dataset="none", to=TO, to_snapshot=None, subscription=subscription)
