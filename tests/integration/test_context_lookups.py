"""Context lookups against the emulator and a real Redis, with hostile text, and with a Redis that is killed."""

import datetime as dt
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from pipeline.local.crm.generator import generate_crm
from pipeline.local.stack import PROJECT, load_crm
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET
from schemas.account_context import AccountContext, AccountProfile, EnrichedChange, context_hash
from schemas.change_event import AccountChange
from schemas.record import to_row
from schemas.score import Impact, Score, ScoreDriver, ScoreStatus
from schemas.tables import ACCOUNT_SCORES, ACCOUNTS
from tests.fixtures.changes import COMMITTED_AT, account_id, change, context
from tests.fixtures.examples import examples
from tests.fixtures.hostile_text import hostile_text
from tests.fixtures.planted_secrets import REDIS_PASSWORD
from tests.fixtures.redis_server import RedisServer
from transforms.clients.bigquery import QueryValue, Warehouse
from transforms.clients.gemini_api import GeminiSettings
from transforms.clients.outage import OutageGate, OutageSettings, ThrottledSeconds
from transforms.clients.redis import RedisSettings, RedisStore
from transforms.enrich.account_contexts import ContextBounds, read_account_contexts
from transforms.enrich.add_account_context import AddAccountContext, _LookUp
from transforms.enrich.context_cache import CacheSettings, ContextCache, ProcessStore, Store
from transforms.enrich.skip_unchanged_contexts import LastScore, carried_over, read_last_scores, skip_reason
from transforms.ledger import Ledger

CRM = generate_crm(accounts=40, seed=5, as_of=COMMITTED_AT)
SCORED_AT = dt.datetime.now(dt.UTC)


@pytest.fixture(scope="module")
def mirrored(warehouse: Warehouse) -> Warehouse:
    """Return the warehouse with a CRM of 40 accounts."""
    load_crm(warehouse, CRM)
    return warehouse


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """Return a running Redis."""
    with RedisServer() as server:
        yield server


def _changes() -> list[AccountChange]:
    return [
        change(number, account_id=profile.account_id, record_id=profile.account_id)
        for number, profile in enumerate(CRM.accounts)
    ]


class _Counted:
    """A warehouse that counts its queries."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.project = warehouse.project
        self.queries = 0

    def look_up(self, sql: str, parameters: Mapping[str, QueryValue]) -> list[Mapping[str, Any]]:
        self.queries += 1
        return self.warehouse.look_up(sql, parameters)


def _worker(
    warehouse: _Counted, monkeypatch: pytest.MonkeyPatch, server: RedisServer, *, has_own_tier: bool = True
) -> _LookUp:
    """Return the step as in a new worker process: with an empty cache, and Redis behind it."""
    monkeypatch.setenv("TEST_REDIS_URL", server.url)
    step = _LookUp(AddAccountContext(PROJECT, CRM_DATASET, "1"))
    step.warehouse = warehouse  # type: ignore[assignment]
    step.outage_gate = OutageGate("test", OutageSettings(probe_seconds=0.1))
    step.throttled = ThrottledSeconds("test")
    stores: list[Store] = [ProcessStore(600, 10**7)] if has_own_tier else []
    stores.append(RedisStore(RedisSettings("TEST_REDIS_URL"), 600))
    step.cache = ContextCache(stores, "crm", CacheSettings())
    return step


def _in_context(step: _LookUp) -> list[EnrichedChange]:
    (batch,) = step.process(_changes())
    assert isinstance(batch, list)
    return batch


def test_workers_share_what_they_read(
    mirrored: Warehouse, monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer
) -> None:
    """The second worker gets the same contexts without a query, from a Redis with a password."""
    warehouse = _Counted(mirrored)
    first = _in_context(_worker(warehouse, monkeypatch, redis_server))
    assert (len(first), redis_server.keys()) == (40, 40)
    assert _in_context(_worker(warehouse, monkeypatch, redis_server)) == first
    assert warehouse.queries == 1


def test_redis_dies_and_comes_back(
    mirrored: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    redis_server: RedisServer,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If Redis is killed, contexts are queried; when it is back, it is used again; no log has its password."""
    monkeypatch.setattr("transforms.clients.redis._RESET_SECONDS", 0.2)
    warehouse = _Counted(mirrored)
    step = _worker(warehouse, monkeypatch, redis_server, has_own_tier=False)
    expected = _in_context(step)
    redis_server.kill()
    for _ in range(5):
        assert _in_context(step) == expected
    assert warehouse.queries == 6
    redis_server.start()
    time.sleep(0.3)
    assert _in_context(step) == expected
    assert redis_server.keys() == 40
    assert _in_context(step) == expected
    assert warehouse.queries == 7
    captured = capfd.readouterr()
    output = captured.out + captured.err + caplog.text
    assert output.count("circuit is open") == 1
    assert REDIS_PASSWORD not in output


@examples(HealthCheck.function_scoped_fixture, ordinary=4, slow=60)
@given(st.lists(hostile_text, min_size=250, max_size=250))
def test_hostile_ids_are_looked_up_as_text(mirrored: Warehouse, values: list[str]) -> None:
    """With 2,000 hostile strings and a real id, both queries run, and find only the real account's rows."""
    real = CRM.accounts[0].account_id
    account_ids = sorted({real, *values})
    until = COMMITTED_AT + dt.timedelta(days=1)
    found = read_account_contexts(
        mirrored, CRM_DATASET, account_ids, since=COMMITTED_AT, until=until, bounds=ContextBounds()
    )
    assert set(found) == {real}
    assert read_last_scores(mirrored, SCORING_DATASET, account_ids, since=COMMITTED_AT, until=until) == {}


def test_hostile_text_of_a_record_is_unchanged(mirrored: Warehouse) -> None:
    """Hostile text is unchanged after BigQuery, the context and the cache's bytes."""
    hostile = ["'); DROP TABLE crm.accounts; --", "`{crm}` @since \\' \u202e \u2028", '"""', "\U0001f4a5%s${x}"]
    rows = [
        AccountProfile(account_id=account_id(900 + number), name=name, industry=name, modified_at=COMMITTED_AT)
        for number, name in enumerate(hostile)
    ]
    mirrored.insert_rows(CRM_DATASET, ACCOUNTS, {row.account_id: row.model_dump(mode="json") for row in rows})
    found = read_account_contexts(
        mirrored,
        CRM_DATASET,
        [row.account_id for row in rows],
        since=COMMITTED_AT,
        until=COMMITTED_AT,
        bounds=ContextBounds(),
    )
    assert {it.profile.name for it in found.values() if isinstance(it, AccountContext)} == set(hostile)


def _score(number: int, minutes: int, **fields: Any) -> Score:
    defaults: dict[str, Any] = {
        "account_id": account_id(number),
        "score_id": f"{number}-{minutes}",
        "event_ids": (f"{minutes:032d}",),
        "change_committed_at": COMMITTED_AT + dt.timedelta(minutes=minutes),
        "change_sequence": 1,
        "scored_at": SCORED_AT,
        "status": ScoreStatus.SCORED,
        "score": 40,
        "confidence": 0.5,
        "drivers": (ScoreDriver(factor="Renewal", impact=Impact.POSITIVE, evidence="opportunities"),),
        "context_hash": context_hash(context(number)),
        "prompt_version": "v1",
        "model": "m",
        "trace_id": "t",
        "pipeline_version": "1",
    }
    return Score(**defaults | fields)


def _last_scores(warehouse: Warehouse, *rows: Score) -> dict[str, LastScore]:
    warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, rows)
    accounts = sorted({row.account_id for row in rows} | {account_id(99)})
    since, until = SCORED_AT - dt.timedelta(days=7), SCORED_AT + dt.timedelta(days=1)
    return read_last_scores(warehouse, SCORING_DATASET, accounts, since=since, until=until)


def test_the_last_score_is_the_newest_by_commit_order(mirrored: Warehouse) -> None:
    """For any order of rows, the newest by commit order is the last score; drivers, times and flags are unchanged."""
    newest = _score(1, 9, flags=("suspected_instruction",))
    last = _last_scores(mirrored, _score(1, 5), newest, _score(1, 1), _score(2, 3))
    assert set(last) == {account_id(1), account_id(2)}
    assert last[account_id(1)] == LastScore(row=newest, is_recent=True)


def test_a_tombstone_is_the_last_row_of_a_deleted_account(mirrored: Warehouse) -> None:
    """The tombstone is last also if the score has the same commit time, so the next change is scored."""
    gone = _score(1, 5, status=ScoreStatus.TOMBSTONE, score=None, context_hash=None, drivers=(), score_id="gone")
    last = _last_scores(mirrored, _score(1, 5), gone)
    assert last[account_id(1)].row.status is ScoreStatus.TOMBSTONE


def test_a_carried_over_row_does_not_make_a_score_recent(mirrored: Warehouse) -> None:
    """An account whose score is older than the lookback is scored again, even if the score was carried over since."""
    long_ago = _score(1, 1, scored_at=SCORED_AT - dt.timedelta(days=8))
    carried = _score(1, 5, flags=("unchanged_context",))
    assert _last_scores(mirrored, long_ago, carried)[account_id(1)].is_recent is False
    assert _last_scores(mirrored, _score(1, 1), carried)[account_id(1)].is_recent is True


def test_a_late_older_score_does_not_become_the_current_one(mirrored: Warehouse) -> None:
    """Hot, Cold, Hot again: the third is carried over, and the row of the second arrives last; the account is Hot.

    The view shows this for any times at which the rows were written.
    """
    hot = _score(1, 1, score=90, scored_at=SCORED_AT - dt.timedelta(minutes=9))
    item = EnrichedChange(change=change(1, committed_at=COMMITTED_AT + dt.timedelta(minutes=5)), context=context(1))
    scoring = GeminiSettings("p", model="m", prompt_version="v1")
    last = _last_scores(mirrored, hot)[account_id(1)]
    assert skip_reason(item, last, scoring) == "unchanged_context"
    carried = carried_over(item, last, scoring, Ledger("Skip unchanged contexts", "1")).scored
    assert carried
    late_cold = _score(1, 3, score=10, scored_at=SCORED_AT + dt.timedelta(minutes=1))
    mirrored.insert_rows(
        SCORING_DATASET, ACCOUNT_SCORES, {row.score_id: to_row(row) for row in (carried.score, late_cold)}
    )
    (row,) = mirrored.query(
        f"SELECT score, flags, change_committed_at FROM `{PROJECT}.{SCORING_DATASET}.current_account_scores`"  # noqa: S608
    )
    assert (row["score"], row["flags"]) == (90, ["unchanged_context"])
    assert row["change_committed_at"] == item.change.committed_at
    # The next change is compared with the carried-over row, which is the newest.
    since, until = SCORED_AT - dt.timedelta(days=7), SCORED_AT + dt.timedelta(days=1)
    newest = read_last_scores(mirrored, SCORING_DATASET, [account_id(1)], since=since, until=until)[account_id(1)]
    assert newest.row.score_id == carried.score.score_id
    replayed_cold = EnrichedChange(change=change(1, committed_at=late_cold.change_committed_at), context=context(1))
    assert skip_reason(replayed_cold, newest, scoring) == "stale"


def test_a_context_is_recognised_by_the_hash_on_its_row(mirrored: Warehouse) -> None:
    """The context hash is unchanged after BigQuery, and differs for another context."""
    item = EnrichedChange(change=change(1, committed_at=COMMITTED_AT + dt.timedelta(minutes=5)), context=context(1))
    last = _last_scores(mirrored, _score(1, 1))[account_id(1)]
    assert skip_reason(item, last, GeminiSettings("p", model="m", prompt_version="v1")) == "unchanged_context"
    other = EnrichedChange(item.change, context(1, emails=()))
    assert skip_reason(other, last, GeminiSettings("p", model="m", prompt_version="v1")) is None
