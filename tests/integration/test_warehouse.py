"""BigQuery through Google's client: contexts in one query, rows, views over history, composed queries."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.local.crm.generator import generate_crm
from pipeline.local.stack import load_crm
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET
from schemas.account_context import AccountContext, AccountProfile, Opportunity
from schemas.score import Score, ScoreStatus
from schemas.tables import ACCOUNT_SCORES, ACCOUNTS, EMAILS, OPPORTUNITIES
from tests.fixtures.changes import COMMITTED_AT, account_id
from tests.fixtures.planted_secrets import VENDORS_TEXT
from transforms.clients.bigquery import QueryLimits, Warehouse
from transforms.clients.query_guard import QueryRefused, guard_rules
from transforms.enrich.account_contexts import ContextBounds, read_account_contexts
from transforms.errors import InvalidContext, WarehouseUnavailable

BOUNDS = ContextBounds()
SINCE, UNTIL = COMMITTED_AT - dt.timedelta(days=365), COMMITTED_AT + dt.timedelta(days=1)


def _look_up(
    warehouse: Warehouse, *account_ids: str, bounds: ContextBounds = BOUNDS
) -> Mapping[str, AccountContext | InvalidContext]:
    return read_account_contexts(warehouse, CRM_DATASET, account_ids, since=SINCE, until=UNTIL, bounds=bounds)


def test_contexts_are_the_records_that_were_loaded(warehouse: Warehouse) -> None:
    """Each account has its profile and its newest records, within the bounds of number and time."""
    crm = generate_crm(accounts=30, seed=3, as_of=COMMITTED_AT)
    load_crm(warehouse, crm)
    account_ids = [profile.account_id for profile in crm.accounts[:20]]
    contexts = _look_up(warehouse, *account_ids, bounds=ContextBounds(opportunities=2, emails=3, calls=1))
    assert set(contexts) == set(account_ids)
    for profile in crm.accounts[:20]:
        context = contexts[profile.account_id]
        assert isinstance(context, AccountContext)
        assert context.profile == profile
        emails = sorted((e for e in crm.emails if e.account_id == profile.account_id), key=lambda e: e.sent_at)
        recent = [email for email in emails if SINCE <= email.sent_at <= UNTIL]
        assert [email.sent_at for email in context.emails] == [email.sent_at for email in recent[::-1][:3]]
        assert len(context.opportunities) <= 2
        assert len(context.calls) <= 1
        assert all(deal.account_id == profile.account_id for deal in context.opportunities)


def test_an_account_that_the_mirror_lacks_is_missing(warehouse: Warehouse) -> None:
    """An account without a mirror row has no context, and no error is raised."""
    warehouse.replace_rows(CRM_DATASET, ACCOUNTS, [_profile(1)])
    assert set(_look_up(warehouse, account_id(1), account_id(2))) == {account_id(1)}


@pytest.mark.parametrize("value", ["') OR 1=1 --", "`; DROP TABLE crm.accounts; --", "{crm}", "@since", "\\", "'"])
def test_values_are_bound_and_never_become_sql(warehouse: Warehouse, value: str) -> None:
    """Hostile text in an id or a record is looked up and returned as text."""
    warehouse.replace_rows(CRM_DATASET, ACCOUNTS, [_profile(1, name=value)])
    contexts = _look_up(warehouse, account_id(1), value)
    context = contexts[account_id(1)]
    assert set(contexts) == {account_id(1)}
    assert isinstance(context, AccountContext)
    assert context.profile.name == value


def test_history_before_the_window_is_not_read(warehouse: Warehouse) -> None:
    """The partition filter is the given window."""
    deals = [
        Opportunity(
            opportunity_id=str(days),
            account_id=account_id(1),
            name="Deal",
            stage="Closed Won",
            is_closed=True,
            is_won=True,
            modified_at=COMMITTED_AT - dt.timedelta(days=days),
        )
        for days in (1, 400)
    ]
    warehouse.replace_rows(CRM_DATASET, ACCOUNTS, [_profile(1)])
    warehouse.replace_rows(CRM_DATASET, OPPORTUNITIES, deals)
    context = _look_up(warehouse, account_id(1))[account_id(1)]
    assert isinstance(context, AccountContext)
    assert [deal.opportunity_id for deal in context.opportunities] == ["1"]


def test_replacing_with_no_rows_empties_a_table(warehouse: Warehouse) -> None:
    """No row is left."""
    assert warehouse.replace_rows(CRM_DATASET, EMAILS, []) == 0
    assert list(warehouse.query("SELECT * FROM `account-scoring-local.crm.emails`")) == []


@pytest.mark.parametrize("sql", ["SELECT * FROM nowhere.nothing", "SELECT no_such_function(1)", "SELEC 1"])
def test_a_failed_query_raises_an_error(warehouse: Warehouse, sql: str) -> None:
    """A failed query is not an empty result, so no account counts as missing because of a wrong statement."""
    with pytest.raises(WarehouseUnavailable):
        list(warehouse.query(sql))


def test_the_newest_change_is_the_current_score(warehouse: Warehouse) -> None:
    """The newest change wins in any order of arrival; a tombstone removes the account."""
    now = dt.datetime.now(dt.UTC)
    rows = [
        _score(1, minutes=5, score=50, scored_at=now),
        _score(1, minutes=9, score=90, scored_at=now - dt.timedelta(minutes=3)),
        _score(1, minutes=9, score=90, scored_at=now),
        _score(1, minutes=1, score=10, scored_at=now),
        _score(2, minutes=1, score=20, scored_at=now),
        _score(2, minutes=2, score=None, scored_at=now),
    ]
    warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, rows)
    rows_now = warehouse.query("SELECT * FROM `account-scoring-local.account_scoring.current_account_scores`")
    current = [(row["account_id"], row["score"]) for row in rows_now]
    assert current == [(account_id(1), 90)]


def test_a_warehouse_that_is_gone_is_unavailable(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection raises WarehouseUnavailable, without the statement in its text."""
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:1")
    monkeypatch.setattr("transforms.clients.bigquery.REPORT_LIMITS", QueryLimits(retry_seconds=1.0))
    gone = Warehouse(warehouse.project)
    with pytest.raises(WarehouseUnavailable) as error:
        list(gone.query(f"SELECT '{VENDORS_TEXT}'"))
    gone.close()
    assert VENDORS_TEXT not in str(error.value)


def _profile(number: int, **fields: Any) -> AccountProfile:
    return AccountProfile(**{"account_id": account_id(number), "name": "Acme", "modified_at": COMMITTED_AT} | fields)


def _score(number: int, *, minutes: int, score: int | None, scored_at: dt.datetime) -> Score:
    return Score(
        account_id=account_id(number),
        score_id=f"{number}-{minutes}",
        event_ids=(f"e{minutes}",),
        change_committed_at=COMMITTED_AT + dt.timedelta(minutes=minutes),
        change_sequence=1,
        scored_at=scored_at,
        status=ScoreStatus.TOMBSTONE if score is None else ScoreStatus.SCORED,
        score=score,
        trace_id="t",
        pipeline_version="1",
    )


def test_a_composed_query_runs_as_the_guard_says(warehouse: Warehouse) -> None:
    """The query gets a LIMIT; BigQuery's estimate and the duration are logged, the statement is not."""
    now = dt.datetime.now(dt.UTC)
    warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, [_score(1, minutes=1, score=10, scored_at=now)])
    rules = guard_rules(warehouse.project, SCORING_DATASET, CRM_DATASET)
    sql = "SELECT s.score FROM account_scoring.account_scores AS s WHERE s.scored_at >= @since ORDER BY score"
    with capture_logs() as logs:
        rows = warehouse.guarded_query(sql, {"since": now - dt.timedelta(days=1)}, rules=rules)
    assert [row["score"] for row in rows] == [10]
    assert [entry["event"] for entry in logs] == ["query estimated", "query ran"]
    assert logs[0]["estimated_bytes"] >= 0
    assert logs[1]["bigquery_query_duration_seconds"] > 0
    assert logs[1]["rows"] == 1
    assert "account_scores" not in str(logs)


def test_a_refused_query_does_not_reach_bigquery(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the dry run nor the query is sent."""
    rules = guard_rules(warehouse.project, SCORING_DATASET, CRM_DATASET)
    monkeypatch.setattr(warehouse, "_send", lambda *_, **__: pytest.fail("it was sent"))
    with pytest.raises(QueryRefused, match="partitioned by scored_at"):
        warehouse.guarded_query("SELECT score FROM account_scoring.account_scores", rules=rules)


@pytest.mark.parametrize("sql", ["SELECT no_such_function(1)", "SELECT no_column FROM crm.accounts"])
def test_a_failed_composed_query_raises_an_error(warehouse: Warehouse, sql: str) -> None:
    """The dry run fails, and raises the error."""
    rules = guard_rules(warehouse.project, SCORING_DATASET, CRM_DATASET)
    with pytest.raises(WarehouseUnavailable, match="query estimate"):
        warehouse.guarded_query(sql, rules=rules)
