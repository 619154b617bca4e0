"""Add account context: a batch of changes → the same changes with what the warehouse knows of their accounts."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from schemas.account_context import AccountContext, ChangeInContext
from schemas.change_event import AccountChange
from transforms.context_overlay import context_from_change, overlay
from transforms.errors import AccountNotFound, WarehouseError, WarehouseUnavailable
from transforms.ledger import Ledger, Received
from transforms.outputs import DEAD_LETTERS, TaggedDeadLetter
from transforms.warehouse import ContextBounds, Warehouse, shared_warehouse

STAGE: Final = "Add account context"
IN_CONTEXT: Final = "in_context"


def join_contexts(
    changes: Sequence[AccountChange], contexts: Mapping[str, AccountContext | WarehouseError]
) -> Iterator[ChangeInContext | tuple[AccountChange, WarehouseError]]:
    """Yield each change with its account's context, or with the reason why there is none.

    What the event says and the mirror does not know yet is part of the context; an account that the mirror lacks has
    the event's alone, if that is enough.
    """
    for change in changes:
        context = contexts.get(change.account_id)
        if context is None:
            context = context_from_change(change) or AccountNotFound(
                f"the CRM mirror has no account {change.account_id}, nor has the event its name and two facts"
            )
        elif isinstance(context, AccountContext):
            context = overlay(context, change)
        if isinstance(context, AccountContext):
            yield ChangeInContext(change=change, context=context)
        else:
            yield change, context


@dataclass
class AddAccountContext(beam.PTransform):
    """list of AccountChange → list of ChangeInContext (main), DeadLetter; one query a batch."""

    project: str
    crm_dataset: str
    pipeline_version: str
    bounds: ContextBounds = field(default_factory=ContextBounds)

    def expand(self, batches: beam.PCollection[Iterable[AccountChange]]) -> Any:
        """Look up a batch's accounts together."""
        return batches | beam.ParDo(_LookUp(self)).with_outputs(DEAD_LETTERS, main=IN_CONTEXT)


class _LookUp(beam.DoFn):
    def __init__(self, config: AddAccountContext) -> None:
        self.project = config.project
        self.crm_dataset = config.crm_dataset
        self.bounds = config.bounds
        self.ledger = Ledger(STAGE, config.pipeline_version)
        self.queries = Metrics.counter(STAGE, "queries_total")
        self.query_milliseconds = Metrics.distribution(STAGE, "bigquery_query_duration_milliseconds")
        self.found = Metrics.counter(STAGE, "contexts_total")
        self.failed = Metrics.counter(STAGE, "failed_total")

    def setup(self) -> None:
        self.warehouse: Warehouse = shared_warehouse(self.project)

    def process(self, batch: Iterable[AccountChange]) -> Iterator[list[ChangeInContext] | TaggedDeadLetter]:
        changes = list(batch)
        in_context = []
        for joined in join_contexts(changes, self._look_up(changes)):
            if isinstance(joined, ChangeInContext):
                in_context.append(joined)
            else:
                change, error = joined
                self.failed.inc()
                yield TaggedOutput(DEAD_LETTERS, self.ledger.dead_letter(Received.of(change), error))
        self.found.inc(len(in_context))
        if in_context:
            yield in_context

    def _look_up(self, changes: list[AccountChange]) -> Mapping[str, AccountContext | WarehouseError]:
        account_ids = sorted({change.account_id for change in changes})
        started = self.ledger.now()
        oldest = min(change.committed_at for change in changes)
        try:
            return self.warehouse.account_contexts(
                account_ids,
                crm_dataset=self.crm_dataset,
                since=min(oldest, started) - self.bounds.lookback,
                until=started + dt.timedelta(days=1),
                bounds=self.bounds,
            )
        except WarehouseUnavailable as error:
            return dict.fromkeys(account_ids, error)
        finally:
            self.queries.inc()
            self.query_milliseconds.update(int((self.ledger.now() - started) / dt.timedelta(milliseconds=1)))
