"""A backfill on FnApiRunner with the local stack: scores, ledger, order, and resuming."""

import base64
import datetime as dt
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.backfill.backfill_plan import plan_backfill
from pipeline.backfill.backfill_plan import render as render_plan
from pipeline.backfill.preparation import Selection
from pipeline.backfill.runs import BackfillResult, backfill
from pipeline.ledger.ledger_groups import Window, read_ledger
from pipeline.ledger.reconciliation import Reconciliation, judge
from pipeline.local.crm.generator import generate_crm
from pipeline.local.gemini import Fault, GeminiStandIn
from pipeline.local.stack import load_crm
from pipeline.resources.names import SCORING_DATASET
from pipeline.resources.topics import create_topics
from schemas.change_event import AccountChange, SourceMessage
from schemas.score import Score, ScoreStatus
from schemas.tables import ACCOUNT_SCORES, CHANGE_OUTCOMES, DEAD_LETTERS
from tests.fixtures.changes import ACCOUNT_FIELDS, account_id
from tests.fixtures.shared_servers import SharedServers
from transforms.clients.bigquery import Warehouse
from transforms.parse.message_parsing import parse_message

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
CRM = generate_crm(accounts=12, seed=5, as_of=NOW)
ALL = Selection(everything=True)
LAG = dt.timedelta(minutes=15)


@pytest.fixture(scope="module")
def pubsub(servers: SharedServers, environment: pytest.MonkeyPatch) -> None:
    """Create the topics of dead letters."""
    environment.setenv("PUBSUB_EMULATOR_HOST", servers.pubsub.host)
    create_topics("account-scoring-local")


@pytest.fixture
def empty(warehouse: Warehouse, gemini: GeminiStandIn, pubsub: None) -> Warehouse:
    """Return the warehouse with twelve accounts, without scores and ledger rows."""
    load_crm(warehouse, CRM)
    for table in (ACCOUNT_SCORES, CHANGE_OUTCOMES, DEAD_LETTERS):
        warehouse.replace_rows(SCORING_DATASET, table, [])
    gemini.reset()
    gemini.configure(faults=[])
    return warehouse


def _backfill(
    selection: Selection = ALL, *, resume: bool = False, run_size: int = 100, now: dt.datetime = NOW
) -> BackfillResult:
    arguments = ["--project=account-scoring-local", "--call_deadline_seconds=5"]
    return backfill(
        arguments,
        selection,
        resume=resume,
        mirror_lag=LAG,
        run_size=run_size,
        now=lambda: now + dt.timedelta(seconds=1),
    )


def _current(warehouse: Warehouse) -> dict[str, Any]:
    rows = warehouse.query("SELECT * FROM `account-scoring-local.account_scoring.current_account_scores`")
    return {row["account_id"]: row for row in rows}


def _reconciled(warehouse: Warehouse) -> Reconciliation:
    now = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
    window = Window(since=now - dt.timedelta(hours=2), until=now, grace=dt.timedelta(0))
    return judge(read_ledger(warehouse, SCORING_DATASET, window, limit=5), window, limit=5)


def test_every_account_is_scored_and_accounted_for(empty: Warehouse, gemini: GeminiStandIn) -> None:
    """In runs of five, each with one call: each account has its score as of the time, and the ledger reconciles."""
    seen: list[int] = []
    result = backfill(
        ["--project=account-scoring-local"],
        ALL,
        resume=False,
        mirror_lag=LAG,
        run_size=5,
        on_progress=lambda _progress, wanted: seen.append(wanted),
        now=lambda: NOW,
    )
    assert result.is_ok
    assert result.document()["outcomes"] == {"scored": 12}
    current = _current(empty)
    assert set(current) == {profile.account_id for profile in CRM.accounts}
    assert {row["change_committed_at"] for row in current.values()} == {NOW - LAG}
    assert {row["change_sequence"] for row in current.values()} == {0}
    assert gemini.stats().calls == 3
    assert set(seen) == {12}
    reconciled = _reconciled(empty)
    assert reconciled.is_ok
    assert reconciled.counts["received"] == reconciled.counts["scored"] == 12


def test_a_plan_scores_nothing(empty: Warehouse, gemini: GeminiStandIn) -> None:
    """It has the number of accounts, tokens and dollars, by the model's price, and what a resumed backfill has left."""
    arguments = ["--project=account-scoring-local", "--daily_token_budget=1000"]
    planned = plan_backfill(arguments, ALL, resume=False, mirror_lag=LAG, now=lambda: NOW)
    document = planned.document()
    assert (document["accounts"], document["already_done"], document["executed"]) == (12, 0, False)
    assert document["cost"]["scores"] == 12
    assert document["cost"]["averaged_scores"] == 0
    assert 0 < document["cost"]["dollars"] < 0.05
    assert planned.question == "Score 12 accounts now?"
    shown = io.StringIO()
    Console(file=shown, width=100).print(render_plan(planned))
    assert "12 accounts would be scored" in shown.getvalue()
    assert "more than the daily token budget, 1,000" in shown.getvalue()
    assert gemini.stats().calls == 0
    assert not _current(empty)
    _backfill()
    resumed = plan_backfill(arguments, ALL, resume=True, mirror_lag=LAG, now=lambda: NOW)
    assert (resumed.already_done, resumed.cost.scores, resumed.question) == (12, 0, None)
    assert resumed.cost.each.scores == 12


def test_a_filter_names_the_accounts(empty: Warehouse) -> None:
    """Only matching accounts of the mirror are scored."""
    industry = CRM.accounts[0].industry
    result = _backfill(Selection(where=f"industry = '{industry}'"))
    assert result.wanted == sum(profile.industry == industry for profile in CRM.accounts)
    assert set(_current(empty)) == {it.account_id for it in CRM.accounts if it.industry == industry}


def test_an_account_that_the_mirror_lacks_fails_alone_and_can_be_replayed(empty: Warehouse, tmp_path: Path) -> None:
    """The account is dead-lettered with a message that parses as the same event; the others are scored."""
    unknown = account_id(999)
    file = tmp_path / "accounts.txt"
    file.write_text(f"{CRM.accounts[0].account_id}\n{unknown}\n", "utf-8")
    result = _backfill(Selection(file=file))
    assert result.document()["outcomes"] == {"scored": 1, "dead_lettered:account_not_found": 1}
    assert not result.is_ok
    (dead_letter,) = empty.query("SELECT * FROM `account-scoring-local.account_scoring.dead_letters`")
    (change,) = parse_message(
        SourceMessage(payload=base64.b64decode(dead_letter["payload_base64"])), account_fields=ACCOUNT_FIELDS
    )
    assert isinstance(change, AccountChange)
    assert (change.account_id, change.event_id) == (unknown, dead_letter["event_id"])
    assert _reconciled(empty).is_ok


def test_a_newer_change_wins_whenever_it_comes(empty: Warehouse) -> None:
    """A change after the backfill's time replaces its score; an earlier change does not."""
    newer, older = (CRM.accounts[number].account_id for number in (0, 1))
    known = [_scored(newer, NOW - dt.timedelta(minutes=1)), _scored(older, NOW - dt.timedelta(hours=1))]
    empty.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, known)
    _backfill()
    current = _current(empty)
    assert current[newer]["score_id"] == known[0].score_id
    assert current[older]["change_committed_at"] > known[1].change_committed_at


def test_a_backfill_is_resumed(empty: Warehouse, gemini: GeminiStandIn, tmp_path: Path) -> None:
    """Accounts that the backfill scored or that failed are skipped; the others are scored as of its time."""
    half = tmp_path / "half.txt"
    half.write_text("\n".join([account_id(998), *(profile.account_id for profile in CRM.accounts[:6])]), "utf-8")
    first = _backfill(Selection(file=half))
    calls = gemini.stats().calls
    resumed = _backfill(resume=True, now=NOW + dt.timedelta(hours=1))
    assert resumed.backfill == first.backfill
    assert (resumed.wanted, resumed.already_done) == (12, 6)
    assert resumed.without_outcome == 0
    assert resumed.document()["outcomes"] == {"scored": 12, "dead_lettered:account_not_found": 1}
    assert set(_current(empty)) == {profile.account_id for profile in CRM.accounts}
    assert gemini.stats().calls - calls == 2
    again = _backfill(resume=True, now=NOW + dt.timedelta(hours=2))
    assert (again.already_done, again.without_outcome) == (12, 0)
    assert gemini.stats().calls - calls == 2
    assert _reconciled(empty).is_ok


def test_an_account_whose_score_row_is_missing_is_scored_again(empty: Warehouse) -> None:
    """An account with an outcome but no score row is scored again, and counts once."""
    _backfill()
    empty.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, [])
    resumed = _backfill(resume=True)
    assert resumed.already_done == 0
    assert len(_current(empty)) == 12
    reconciled = _reconciled(empty)
    assert reconciled.is_ok
    assert reconciled.counts["scored"] == 12


def test_a_score_without_its_outcome_gets_one(empty: Warehouse, gemini: GeminiStandIn) -> None:
    """A crash can leave score rows without ledger rows: resuming finds the score rows, and adds the ledger rows.

    The same context was scored already, so Gemini is not called again.
    """
    first = _backfill()
    calls = gemini.stats().calls
    empty.replace_rows(SCORING_DATASET, CHANGE_OUTCOMES, [])
    resumed = _backfill(resume=True, now=NOW + dt.timedelta(minutes=5))
    assert (resumed.backfill, resumed.already_done) == (first.backfill, 0)
    reconciled = _reconciled(empty)
    assert reconciled.is_ok
    assert reconciled.counts["received"] == reconciled.counts["skipped:unchanged_context"] == 12
    assert len(_current(empty)) == 12
    assert gemini.stats().calls == calls


def test_what_gemini_refuses_is_dead_lettered_and_not_scored_again(empty: Warehouse, gemini: GeminiStandIn) -> None:
    """Only that account fails; resuming leaves it to the replay of dead letters."""
    poison = CRM.accounts[3]
    gemini.configure(faults=[Fault(kind="finish_safety", match=poison.name)])
    result = _backfill()
    assert result.document()["outcomes"] == {"scored": 11, "dead_lettered:blocked_response": 1}
    assert not result.is_ok
    gemini.configure(faults=[])
    resumed = _backfill(resume=True)
    assert resumed.already_done == 12
    assert not resumed.is_ok
    assert poison.account_id not in _current(empty)


def test_resuming_needs_a_backfill(empty: Warehouse) -> None:
    """Without one in the ledger, the message says to leave the flag out."""
    with pytest.raises(ValueError, match="leave --resume out"):
        _backfill(resume=True)


def _scored(of: str, committed_at: dt.datetime) -> Score:
    return Score(
        account_id=of,
        score_id=f"known-{of}",
        event_ids=("e",),
        change_committed_at=committed_at,
        change_sequence=1,
        scored_at=dt.datetime.now(dt.UTC),
        status=ScoreStatus.SCORED,
        score=50,
        trace_id="t",
        pipeline_version="1",
    )
