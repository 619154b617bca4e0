"""Skip unchanged contexts: do not score a change that leaves its account's context as it was at the last score.

The last score is the newest row in `account_scores`, so a score that failed, or whose row was refused, does not count.
A skipped change gets a row too: the carried-over score with the change's place in commit order, so that an older change
that arrives late can't replace it. See docs/adr/033.
"""

import datetime as dt
import importlib.resources
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from msgspec import ValidationError
from msgspec.structs import replace

from schemas.account_context import EnrichedChange, context_hash
from schemas.change_event import ChangeOrder, ChangeType
from schemas.outcome import OutcomeKind, ScoredChange, ScoringResult, SkipReason
from schemas.record import from_row
from schemas.score import UNCHANGED_CONTEXT_FLAG, Score, ScoreStatus, score_id
from transforms.clients.bigquery import Warehouse, shared_warehouse
from transforms.clients.gemini_api import GeminiSettings
from transforms.clients.hold import Hold
from transforms.clients.outage import OutageGate, OutageSettings, ThrottledSeconds, shared_outage_gate
from transforms.errors import WarehouseUnavailable
from transforms.ledger import Ledger, Received
from transforms.logs import get_logger
from transforms.outputs import OUTCOMES, TaggedOutcome

STAGE: Final = "Skip unchanged contexts"
CHANGED: Final = "changed"
CARRIED: Final = "carried"

_REVIVALS: Final = frozenset({ChangeType.UNDELETE, ChangeType.GAP_UNDELETE})

_LAST_SCORES_SQL: Final = importlib.resources.files("transforms.enrich").joinpath("last_scores.sql").read_text()

_log = get_logger(__name__)


@dataclass(frozen=True)
class LastScore:
    """The newest row of an account in commit order, and whether Gemini scored the account within the lookback."""

    row: Score
    is_recent: bool


def skip_reason(item: EnrichedChange, last: LastScore | None, gemini: GeminiSettings) -> SkipReason | None:
    """Return why a change needs no score; None if it needs one.

    A change older than its account's newest row is stale. Otherwise it is skipped if the row is a recent score, not a
    tombstone, of the same context, prompt and model, and the account was not restored.
    """
    if last is None:
        return None
    row = last.row
    if item.change.row_order < ChangeOrder(row.change_committed_at, row.change_sequence):
        return SkipReason.STALE
    is_same = (
        row.status is ScoreStatus.SCORED
        and row.context_hash == context_hash(item.context)
        and row.prompt_version == gemini.prompt_version
        and row.model == gemini.model
    )
    is_revived = item.change.change_type in _REVIVALS
    return SkipReason.UNCHANGED_CONTEXT if is_same and last.is_recent and not is_revived else None


def carried_over(item: EnrichedChange, last: LastScore, gemini: GeminiSettings, ledger: Ledger) -> ScoringResult:
    """Return the last score as the row of a later change that left the context as it was; no tokens are counted."""
    change, row = item.change, last.row
    carried = replace(
        row,
        score_id=score_id(change.account_id, change.event_id, gemini.prompt_version, gemini.model),
        event_ids=(change.event_id, *change.coalesced),
        change_committed_at=change.row_order.committed_at,
        change_sequence=change.row_order.sequence_number,
        scored_at=ledger.now(),
        changed_fields=change.changed_fields,
        prompt_tokens=0,
        output_tokens=0,
        cached_tokens=0,
        cost_usd=0.0,
        accounts_in_call=None,
        latency_ms=None,
        flags=tuple(dict.fromkeys((*row.flags, *change.flags, UNCHANGED_CONTEXT_FLAG))),
        trace_id=change.trace_id,
        pipeline_version=ledger.pipeline_version,
    )
    outcome = ledger.outcome(Received.of(change), OutcomeKind.SKIPPED, reason=SkipReason.UNCHANGED_CONTEXT)
    return ScoringResult(scored=ScoredChange(score=carried, outcome=outcome, source=change.source))


def last_scores_query(scores: str) -> str:
    """Return the query; `scores` is `project.dataset`, from the configuration and never from an event."""
    return _LAST_SCORES_SQL.format(scores=scores)


def last_score_from_row(row: Mapping[str, Any]) -> LastScore | None:
    """Return a row of the query as a last score; None if another version's table has values unknown to this one."""
    newest = row["newest"]
    known = {name: newest[name] for name in Score.__struct_fields__ if newest.get(name) is not None}
    try:
        return LastScore(row=from_row(Score, known), is_recent=row["is_recent"])
    except ValidationError:
        return None


def read_last_scores(
    warehouse: Warehouse, dataset: str, account_ids: Sequence[str], *, since: dt.datetime, until: dt.datetime
) -> dict[str, LastScore]:
    """Read the last scores of a batch's accounts with one query; accounts without one are missing in the result.

    Args:
        warehouse: The connection.
        dataset: The dataset of `account_scores`.
        account_ids: 18-character ids.
        since: Start of the rows that are read; it bounds the partitions.
        until: End of the rows that are read.

    Raises:
        WarehouseUnavailable: BigQuery did not answer.
    """
    sql = last_scores_query(f"{warehouse.project}.{dataset}")
    rows = warehouse.look_up(sql, {"account_ids": list(account_ids), "since": since, "until": until})
    read = (last_score_from_row(row) for row in rows)
    return {last.row.account_id: last for last in read if last}


@dataclass
class SkipUnchangedContexts(beam.PTransform):
    """list of EnrichedChange → those that need a score (main), ScoringResult (`carried`), Outcome; one query a batch.

    If BigQuery does not answer before the outage gate's deadline, the whole batch is scored: that costs money, but
    loses nothing. A lookback of zero switches the step off.
    """

    project: str
    dataset: str
    pipeline_version: str
    gemini: GeminiSettings
    lookback: dt.timedelta = dt.timedelta(days=7)
    outage: OutageSettings = field(default_factory=OutageSettings)

    def expand(self, batches: beam.PCollection[list[EnrichedChange]]) -> Any:
        """Split each batch by whether a change needs a score."""
        return batches | beam.ParDo(_Skip(self, is_bounded=batches.is_bounded)).with_outputs(
            CARRIED, OUTCOMES, main=CHANGED
        )


class _Skip(beam.DoFn):
    def __init__(self, config: SkipUnchangedContexts, *, is_bounded: bool = False) -> None:
        self.config = config
        self.is_bounded = is_bounded
        self.hold: Hold | None = None
        self.ledger = Ledger(STAGE, config.pipeline_version)
        self.queries = Metrics.counter(STAGE, "queries_total")
        self.query_milliseconds = Metrics.distribution(STAGE, "bigquery_query_duration_milliseconds")
        self.changed = Metrics.counter(STAGE, "changed_total")
        self.unchanged = Metrics.counter(STAGE, "unchanged_total")
        self.stale = Metrics.counter(STAGE, "stale_total")
        self.unknown = Metrics.counter(STAGE, "unknown_total")

    def setup(self) -> None:
        to = self.config
        self.warehouse: Warehouse = shared_warehouse(to.project)
        self.outage_gate: OutageGate = shared_outage_gate(f"BigQuery {to.project}.{to.dataset}", to.outage)
        self.throttled = ThrottledSeconds(STAGE)

    def start_bundle(self) -> None:
        self.hold = self.outage_gate.bundle_hold(is_bounded=self.is_bounded)

    def process(
        self, batch: Sequence[EnrichedChange]
    ) -> Iterator[list[EnrichedChange] | TaggedOutput[Literal["carried"], ScoringResult] | TaggedOutcome]:
        last_scores = self._last_scores(batch) if self.config.lookback else {}
        changed = []
        for item in batch:
            last = last_scores.get(item.change.account_id)
            reason = skip_reason(item, last, self.config.gemini)
            if reason is None or last is None:
                changed.append(item)
            elif reason is SkipReason.STALE:
                self.stale.inc()
                received = Received.of(item.change)
                yield TaggedOutput(OUTCOMES, self.ledger.outcome(received, OutcomeKind.SKIPPED, reason=reason))
            else:
                self.unchanged.inc()
                yield TaggedOutput(CARRIED, carried_over(item, last, self.config.gemini, self.ledger))
        self.changed.inc(len(changed))
        if changed:
            yield changed

    def _last_scores(self, batch: Sequence[EnrichedChange]) -> Mapping[str, LastScore]:
        account_ids = sorted({item.change.account_id for item in batch})
        try:
            return self.outage_gate.call(lambda: self._look_up(account_ids), self.throttled, self.hold)
        except WarehouseUnavailable as error:
            self.unknown.inc(len(account_ids))
            _log.error("last scores can't be read: the whole batch is scored", reason=str(error), batch=len(batch))
            return {}

    def _look_up(self, account_ids: Sequence[str]) -> Mapping[str, LastScore]:
        started = self.ledger.now()
        self.queries.inc()
        try:
            return read_last_scores(
                self.warehouse,
                self.config.dataset,
                account_ids,
                since=started - self.config.lookback,
                until=started + dt.timedelta(days=1),
            )
        finally:
            self.query_milliseconds.update(int((self.ledger.now() - started) / dt.timedelta(milliseconds=1)))
