"""Unchanged contexts: which changes are skipped, which are scored, and the row of a skipped one."""

import datetime as dt
from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import pytest
from apache_beam.pvalue import TaggedOutput
from msgspec import structs

from schemas.account_context import EnrichedChange, context_hash
from schemas.change_event import ChangeOrder, ChangeType
from schemas.outcome import OutcomeKind, SkipReason
from schemas.record import to_row
from schemas.score import Impact, Score, ScoreDriver, ScoreStatus, Tier, score_id
from tests.fixtures.changes import COMMITTED_AT, NOW, account_id, context, enriched_change
from transforms.clients.gemini_api import GeminiSettings
from transforms.clients.outage import OutageGate, OutageSettings, ThrottledSeconds
from transforms.enrich.skip_unchanged_contexts import (
    LastScore,
    SkipUnchangedContexts,
    _Skip,
    carried_over,
    last_score_from_row,
    last_scores_query,
    skip_reason,
)
from transforms.errors import WarehouseUnavailable
from transforms.ledger import Ledger

GEMINI = GeminiSettings("p", prompt_version="v1", model="gemini-x")
LEDGER = Ledger("Skip unchanged contexts", "2", now=lambda: NOW)
BEFORE = COMMITTED_AT - dt.timedelta(hours=1)


def _row(number: int = 1, **fields: Any) -> Score:
    defaults: dict[str, Any] = {
        "account_id": account_id(number),
        "score_id": score_id(account_id(number), "0" * 32, "v1", "gemini-x"),
        "event_ids": ("0" * 32,),
        "change_committed_at": BEFORE,
        "change_sequence": 1,
        "scored_at": BEFORE + dt.timedelta(seconds=30),
        "status": ScoreStatus.SCORED,
        "score": 81,
        "tier": Tier.HOT,
        "confidence": 0.8,
        "drivers": (ScoreDriver(factor="Renewal", impact=Impact.POSITIVE, evidence="opportunities"),),
        "recommended_action": "Call.",
        "summary": "Likely.",
        "changed_fields": ("Industry",),
        "model": "gemini-x",
        "model_version": "gemini-x-001",
        "prompt_version": "v1",
        "context_hash": context_hash(context(number)),
        "prompt_tokens": 900,
        "output_tokens": 100,
        "cached_tokens": 300,
        "accounts_in_call": 5,
        "latency_ms": 700,
        "flags": ("suspected_instruction",),
        "trace_id": "a" * 32,
        "pipeline_version": "1",
    }
    return Score(**defaults | fields)


def _last(number: int = 1, *, is_recent: bool = True, **fields: Any) -> LastScore:
    return LastScore(row=_row(number, **fields), is_recent=is_recent)


def test_the_same_context_prompt_and_model_need_no_new_score() -> None:
    """Gemini would get the same prompt as for the last score."""
    assert skip_reason(enriched_change(1), _last(), GEMINI) is SkipReason.UNCHANGED_CONTEXT


@pytest.mark.parametrize(
    ("item", "last"),
    [
        (enriched_change(1), None),
        (enriched_change(1), _last(context_hash="0" * 32)),
        (enriched_change(1), _last(context_hash=None)),
        (enriched_change(1), _last(prompt_version="v0")),
        (enriched_change(1), _last(model="gemini-w")),
        (enriched_change(1), _last(status=ScoreStatus.TOMBSTONE)),
        (enriched_change(1), _last(is_recent=False)),
        (enriched_change(1, change_type=ChangeType.UNDELETE), _last()),
        (enriched_change(1, change_type=ChangeType.GAP_UNDELETE), _last()),
    ],
    ids=["first", "context", "no hash", "prompt", "model", "tombstone", "long ago", "undelete", "gap undelete"],
)
def test_any_difference_makes_the_change_scored(item: EnrichedChange, last: LastScore | None) -> None:
    """No score, another context, prompt or model, a deleted or restored account, or an old score."""
    assert skip_reason(item, last, GEMINI) is None


@pytest.mark.parametrize(("minutes", "sequence", "expected"), [(1, 1, "stale"), (0, 2, "stale"), (0, 1, None)])
def test_a_change_older_than_the_row_is_stale(minutes: int, sequence: int, expected: str | None) -> None:
    """Its score could not become the current one; a change of the same order can."""
    later = COMMITTED_AT + dt.timedelta(minutes=minutes)
    last = _last(change_committed_at=later, change_sequence=sequence, context_hash="other")
    assert skip_reason(enriched_change(1), last, GEMINI) == expected


def test_an_older_tombstone_does_not_hide_a_change() -> None:
    """An update newer than the deletion means that the account exists."""
    assert skip_reason(enriched_change(1), _last(status=ScoreStatus.TOMBSTONE), GEMINI) is None


def test_a_newer_tombstone_makes_a_change_stale() -> None:
    """The account was deleted after it."""
    gone = _last(status=ScoreStatus.TOMBSTONE, change_committed_at=COMMITTED_AT + dt.timedelta(minutes=1))
    assert skip_reason(enriched_change(1), gone, GEMINI) is SkipReason.STALE


def test_a_carried_over_row_has_the_last_score_and_the_order_of_the_change() -> None:
    """It has no tokens, and the model of the last score; its outcome is skipped, and it keeps its message."""
    item = enriched_change(1, coalesced=("c" * 32,))
    result = carried_over(item, _last(), GEMINI, LEDGER)
    assert result.scored
    row, outcome = result.scored.score, result.scored.outcome
    before = _row()
    same = ("account_id", "score", "tier", "confidence", "drivers", "recommended_action", "summary", "context_hash")
    assert all(getattr(row, name) == getattr(before, name) for name in (*same, "model_version", "prompt_version"))
    assert (row.change_committed_at, row.change_sequence) == item.change.order
    assert row.event_ids == (item.change.event_id, "c" * 32)
    assert row.score_id == score_id(account_id(1), item.change.event_id, "v1", "gemini-x")
    assert (row.prompt_tokens, row.output_tokens, row.cached_tokens, row.cost_usd) == (0, 0, 0, 0)
    assert (row.accounts_in_call, row.latency_ms) == (None, None)
    assert row.flags == ("suspected_instruction", "unchanged_context")
    assert row.changed_fields == ("Rating",)
    assert (outcome.outcome, outcome.reason) == (OutcomeKind.SKIPPED, SkipReason.UNCHANGED_CONTEXT)
    assert result.scored.source == item.change.source
    again = carried_over(item, LastScore(row=row, is_recent=True), GEMINI, LEDGER)
    assert again.scored
    assert again.scored.score.flags == row.flags


def test_a_late_change_is_as_new_as_the_row_that_it_follows() -> None:
    """It is not stale, and its carried-over row has the order under which it goes on."""
    follows = ChangeOrder(COMMITTED_AT + dt.timedelta(minutes=1), 3)
    item = enriched_change(1, scored_as_of=follows)
    newest = _last(change_committed_at=follows.committed_at, change_sequence=2)
    assert skip_reason(item, newest, GEMINI) is SkipReason.UNCHANGED_CONTEXT
    result = carried_over(item, newest, GEMINI, LEDGER)
    assert result.scored
    row = result.scored.score
    assert (row.change_committed_at, row.change_sequence) == follows
    assert row.event_ids == (item.change.event_id,)
    assert result.scored.outcome.committed_at == COMMITTED_AT


def test_a_carried_over_row_has_the_flags_of_its_change() -> None:
    """A value that was left out is noted, although the score is the last one."""
    flagged = enriched_change(1, flags=("unusable_value:AnnualRevenue",))
    result = carried_over(flagged, _last(), GEMINI, LEDGER)
    assert result.scored
    assert result.scored.score.flags == ("suspected_instruction", "unusable_value:AnnualRevenue", "unchanged_context")


def test_the_newest_change_is_current_whatever_came_late() -> None:
    """Hot, then Cold, which is scored late, then Hot again, which is skipped: the account ends Hot.

    In whichever order the rows reach the table, and if the late change is scored from a mirror that lags: the carried
    row is the newest by commit order, as the view takes it.
    """
    hot = _row(score=90)
    skipped = enriched_change(1, committed_at=COMMITTED_AT)
    carried = carried_over(skipped, LastScore(row=hot, is_recent=True), GEMINI, LEDGER).scored
    late = _row(score=10, change_committed_at=COMMITTED_AT - dt.timedelta(minutes=1), scored_at=NOW, score_id="late")
    assert carried
    for rows in permutations([hot, carried.score, late]):
        newest = max(rows, key=lambda row: (row.change_committed_at, row.change_sequence, row.scored_at))
        assert newest.score == 90


def test_rows_of_another_version_are_read_as_far_as_known() -> None:
    """Unknown columns are ignored; a row that can't be read is no reason to skip, and raises nothing."""
    columns = structs.asdict(_row()) | {"column_of_tomorrow": 1}
    assert last_score_from_row({"newest": columns, "is_recent": True}) == _last()
    assert last_score_from_row({"newest": columns | {"status": "unheard_of"}, "is_recent": True}) is None


def test_the_query_bounds_partitions_and_binds_values() -> None:
    """Names come from the configuration, values are parameters, and rows are within the bounds."""
    sql = last_scores_query("my-project.account_scoring")
    assert "`my-project.account_scoring.account_scores`" in sql
    assert "UNNEST(@account_ids)" in sql
    assert "scored_at BETWEEN @since AND @until" in sql


class _Rows:
    """A warehouse with the last scores of some accounts, or one that fails."""

    project = "p"

    def __init__(self, rows: Sequence[LastScore], error: WarehouseUnavailable | None = None) -> None:
        self.rows = rows
        self.error = error
        self.asked: list[list[str]] = []

    def look_up(self, _sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        self.asked.append(parameters["account_ids"])
        if self.error:
            raise self.error
        wanted = [last for last in self.rows if last.row.account_id in parameters["account_ids"]]
        return [{"newest": to_row(last.row), "is_recent": last.is_recent} for last in wanted]


@pytest.fixture
def run() -> Callable[..., dict[str, list[Any]]]:
    """Return what runs the step over a batch: outputs by tag."""

    def run_step(warehouse: _Rows, batch: list[EnrichedChange], **settings: Any) -> dict[str, list[Any]]:
        step = _Skip(SkipUnchangedContexts("p", "account_scoring", "2", GEMINI, **settings))
        step.warehouse = warehouse  # type: ignore[assignment]
        step.outage_gate = OutageGate("test", OutageSettings(deadline_seconds=0, probe_seconds=0.01))
        step.throttled = ThrottledSeconds("test")
        outputs: dict[str, list[Any]] = {"changed": [], "carried": [], "outcomes": []}
        for output in step.process(batch):
            if isinstance(output, TaggedOutput):
                outputs[output.tag].append(output.value)
            else:
                outputs["changed"] += output
        return outputs

    return run_step


def test_a_batch_is_split_by_one_query(run: Callable[..., dict[str, list[Any]]]) -> None:
    """Each change has one output, and each account is looked up once."""
    newer = COMMITTED_AT + dt.timedelta(minutes=1)
    warehouse = _Rows([_last(1), _last(2, context_hash="other"), _last(3, change_committed_at=newer)])
    outputs = run(warehouse, [enriched_change(number) for number in (1, 2, 3, 4)])
    assert [item.change.account_id for item in outputs["changed"]] == [account_id(2), account_id(4)]
    assert [result.scored.score.account_id for result in outputs["carried"]] == [account_id(1)]
    assert [(it.account_id, it.outcome, it.reason) for it in outputs["outcomes"]] == [
        (account_id(3), OutcomeKind.SKIPPED, SkipReason.STALE)
    ]
    assert warehouse.asked == [sorted(account_id(number) for number in (1, 2, 3, 4))]


def test_if_bigquery_does_not_answer_everything_is_scored(run: Callable[..., dict[str, list[Any]]]) -> None:
    """After the outage gate's deadline every change is scored; none is lost."""
    batch = [enriched_change(1), enriched_change(2)]
    outputs = run(_Rows([_last(1)], WarehouseUnavailable("BigQuery: query: Forbidden 403")), batch)
    assert outputs == {"changed": batch, "carried": [], "outcomes": []}


def test_switched_off_it_asks_nothing(run: Callable[..., dict[str, list[Any]]]) -> None:
    """Every change is scored, without a query."""
    warehouse, batch = _Rows([_last(1)]), [enriched_change(1)]
    assert run(warehouse, batch, lookback=dt.timedelta(0))["changed"] == batch
    assert warehouse.asked == []
