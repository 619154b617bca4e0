"""Add account context: add to each change of a batch the context of its account."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from schemas.account_context import AccountContext, EnrichedChange
from schemas.change_event import AccountChange
from transforms.clients.bigquery import Warehouse, dataset_path, shared_warehouse
from transforms.clients.hold import Hold
from transforms.clients.outage import OutageGate, OutageSettings, ThrottledSeconds, shared_outage_gate
from transforms.enrich.account_contexts import ContextBounds, read_account_contexts
from transforms.enrich.context_cache import CacheSettings, ContextCache, shared_cache
from transforms.enrich.context_overlay import context_from_change, overlay
from transforms.errors import AccountNotFound, WarehouseError, WarehouseUnavailable
from transforms.ledger import Ledger, Received
from transforms.outputs import DEAD_LETTERS, TaggedDeadLetter

STAGE: Final = "Add account context"
IN_CONTEXT: Final = "enriched"


def join_contexts(
    changes: Sequence[AccountChange],
    contexts: Mapping[str, AccountContext | WarehouseError],
    most_opportunities: int = ContextBounds.opportunities,
) -> Iterator[EnrichedChange | tuple[AccountChange, WarehouseError]]:
    """Yield each change with its account's context, or with the reason why it has none.

    Values of the event that are newer than the mirror's are laid over the context. If the mirror lacks the account, the
    context is made from the event alone, if it has enough values.
    """
    for change in changes:
        context = contexts.get(change.account_id)
        if context is None:
            context = context_from_change(change) or AccountNotFound(
                f"the CRM mirror has no account {change.account_id}, and the event lacks its name and two more values"
            )
        elif isinstance(context, AccountContext):
            context = overlay(context, change, most_opportunities)
        if isinstance(context, AccountContext):
            yield EnrichedChange(change=change, context=context)
        else:
            yield change, context


@dataclass
class AddAccountContext(beam.PTransform):
    """list of AccountChange → list of EnrichedChange (main), DeadLetter; at most one query a batch.

    Contexts are taken from the cache if they were read after the change. While BigQuery does not answer, batches are
    held; after the outage gate's deadline they become dead letters.
    """

    project: str
    crm_dataset: str
    pipeline_version: str
    bounds: ContextBounds = field(default_factory=ContextBounds)
    cache: CacheSettings | None = None
    outage: OutageSettings = field(default_factory=OutageSettings)

    def expand(self, batches: beam.PCollection[Iterable[AccountChange]]) -> Any:
        """Look up a batch's accounts together."""
        return batches | beam.ParDo(_LookUp(self, is_bounded=batches.is_bounded)).with_outputs(
            DEAD_LETTERS, main=IN_CONTEXT
        )


class _LookUp(beam.DoFn):
    def __init__(self, config: AddAccountContext, *, is_bounded: bool = False) -> None:
        self.config = config
        self.is_bounded = is_bounded
        self.hold: Hold | None = None
        self.ledger = Ledger(STAGE, config.pipeline_version)
        self.queries = Metrics.counter(STAGE, "queries_total")
        self.query_milliseconds = Metrics.distribution(STAGE, "bigquery_query_duration_milliseconds")
        self.found = Metrics.counter(STAGE, "contexts_total")
        self.failed = Metrics.counter(STAGE, "failed_total")

    def setup(self) -> None:
        to = self.config
        self.warehouse: Warehouse = shared_warehouse(to.project)
        self.outage_gate: OutageGate = shared_outage_gate(
            f"BigQuery {dataset_path(to.project, to.crm_dataset)}", to.outage
        )
        scope = f"{dataset_path(to.project, to.crm_dataset)} {to.bounds}"
        self.cache: ContextCache | None = shared_cache(to.cache, scope) if to.cache else None
        self.throttled = ThrottledSeconds(STAGE)

    def start_bundle(self) -> None:
        self.hold = self.outage_gate.bundle_hold(is_bounded=self.is_bounded)

    def process(self, batch: Iterable[AccountChange]) -> Iterator[list[EnrichedChange] | TaggedDeadLetter]:
        changes = list(batch)
        enriched = []
        for joined in join_contexts(changes, self._contexts(changes), self.config.bounds.opportunities):
            if isinstance(joined, EnrichedChange):
                enriched.append(joined)
            else:
                change, error = joined
                self.failed.inc()
                yield TaggedOutput(DEAD_LETTERS, self.ledger.dead_letter(Received.of(change), error))
        self.found.inc(len(enriched))
        if enriched:
            yield enriched

    def _contexts(self, changes: list[AccountChange]) -> Mapping[str, AccountContext | WarehouseError]:
        """Return the contexts of the cache, and those of the mirror for accounts that the cache lacks."""
        cached = self._cached(changes)
        missing = [change for change in changes if change.account_id not in cached]
        if not missing:
            return cached
        try:
            return {**cached, **self.outage_gate.call(lambda: self._look_up(missing), self.throttled, self.hold)}
        except WarehouseUnavailable as error:
            return {**cached, **{change.account_id: error for change in missing}}

    def _cached(self, changes: list[AccountChange]) -> dict[str, AccountContext]:
        if self.cache is None:
            return {}
        found = self.cache.find(changes, self.ledger.now())
        for store, hits in found.hits.items():
            Metrics.counter(STAGE, f"cache_hits_{store}_total").inc(hits)
        return found.contexts

    def _look_up(self, changes: list[AccountChange]) -> Mapping[str, AccountContext | WarehouseError]:
        started = self.ledger.now()
        bounds, oldest = self.config.bounds, min(change.committed_at for change in changes)
        self.queries.inc()
        try:
            contexts = read_account_contexts(
                self.warehouse,
                self.config.crm_dataset,
                sorted({change.account_id for change in changes}),
                since=min(oldest, started) - bounds.lookback,
                until=started + dt.timedelta(days=1),
                bounds=bounds,
            )
        finally:
            self.query_milliseconds.update(int((self.ledger.now() - started) / dt.timedelta(milliseconds=1)))
        if self.cache:
            found = {account_id: it for account_id, it in contexts.items() if isinstance(it, AccountContext)}
            self.cache.keep(found, read_at=started)
        return contexts
