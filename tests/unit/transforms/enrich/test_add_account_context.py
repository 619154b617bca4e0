"""Context lookups: at most one query a batch, none for cached accounts, and no change lost when BigQuery fails."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from apache_beam.pvalue import TaggedOutput

from schemas.account_context import EnrichedChange
from schemas.change_event import AccountChange
from schemas.dead_letter import DeadLetter
from schemas.failures import ErrorClass
from tests.fixtures.changes import COMMITTED_AT, account_id, change, context
from transforms.clients.outage import OutageGate, OutageSettings, ThrottledSeconds
from transforms.enrich.add_account_context import AddAccountContext, _LookUp
from transforms.enrich.context_cache import CacheSettings, ContextCache, ProcessStore
from transforms.errors import WarehouseUnavailable
from transforms.ledger import Ledger

AFTER = COMMITTED_AT + dt.timedelta(minutes=5)


def _row(number: int) -> dict[str, Any]:
    return context(number).model_dump()


class _Mirror:
    """A warehouse with the contexts of some accounts, whose first queries fail."""

    project = "my-project"

    def __init__(self, *numbers: int, failures: int = 0) -> None:
        self.rows = {account_id(number): _row(number) for number in numbers}
        self.failures = failures
        self.asked: list[Sequence[str]] = []

    def look_up(self, _sql: str, parameters: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        account_ids = parameters["account_ids"]
        self.asked.append(account_ids)
        if len(self.asked) <= self.failures:
            raise WarehouseUnavailable("BigQuery: query: ServiceUnavailable 503")
        return [self.rows[it] for it in account_ids if it in self.rows]


class _Step:
    """The step over a mirror, with a cache of its own and a short outage."""

    def __init__(self, mirror: _Mirror, *, is_cached: bool = True, deadline_seconds: float = 60) -> None:
        self.mirror = mirror
        self.step = _LookUp(AddAccountContext("my-project", "crm", "1"))
        self.step.ledger = Ledger("Add account context", "1", now=lambda: AFTER)
        self.step.warehouse = mirror  # type: ignore[assignment]
        self.step.outage_gate = OutageGate(
            "test", OutageSettings(deadline_seconds=deadline_seconds, probe_seconds=0.01)
        )
        self.step.cache = ContextCache([ProcessStore(600, 10**6)], "crm", CacheSettings()) if is_cached else None
        self.step.throttled = ThrottledSeconds("test")

    def __call__(self, *changes: AccountChange) -> tuple[list[EnrichedChange], list[DeadLetter]]:
        enriched_change, dead_letters = list[EnrichedChange](), list[DeadLetter]()
        for output in self.step.process(changes):
            if isinstance(output, TaggedOutput):
                dead_letters.append(output.value)
            else:
                enriched_change += output
        return enriched_change, dead_letters


def test_a_batch_is_one_query() -> None:
    """Each account is looked up once, however many changes it has; each change gets its context."""
    step = _Step(_Mirror(1, 2))
    enriched_change, dead_letters = step(change(1), change(2), change(1, event_id="b" * 32))
    assert [item.change.account_id for item in enriched_change] == [account_id(1), account_id(2), account_id(1)]
    assert dead_letters == []
    assert step.mirror.asked == [sorted([account_id(1), account_id(2)])]


def test_a_redelivered_batch_costs_no_query() -> None:
    """Contexts read after the changes are used again; only new accounts are looked up."""
    step = _Step(_Mirror(1, 2, 3))
    first, _ = step(change(1), change(2))
    again, _ = step(change(1), change(2))
    assert again == first
    step(change(1), change(2), change(3))
    assert step.mirror.asked == [sorted([account_id(1), account_id(2)]), [account_id(3)]]


def test_a_change_after_the_reading_is_looked_up_anew() -> None:
    """The next change of an account invalidates contexts that were read before it."""
    step = _Step(_Mirror(1))
    step(change(1))
    step(change(1, event_id="b" * 32, committed_at=AFTER))
    assert len(step.mirror.asked) == 2


def test_without_a_cache_each_batch_is_a_query() -> None:
    """Without a cache no context is kept."""
    step = _Step(_Mirror(1), is_cached=False)
    step(change(1))
    step(change(1))
    assert len(step.mirror.asked) == 2


def test_missing_and_invalid_contexts_are_not_cached() -> None:
    """An account that is added to the mirror, or corrected there, is found by the next change or replay."""
    step = _Step(_Mirror())
    step.mirror.rows[account_id(2)] = _row(2) | {"emails": [{"subject": 5}]}
    _, dead_letters = step(change(1), change(2))
    assert [it.error_class for it in dead_letters] == [
        ErrorClass.ACCOUNT_NOT_FOUND,
        ErrorClass.INVALID_CONTEXT,
    ]
    step.mirror.rows |= {account_id(number): _row(number) for number in (1, 2)}
    enriched_change, dead_letters = step(change(1), change(2))
    assert (len(enriched_change), dead_letters) == (2, [])


def test_an_account_that_the_mirror_lacks_is_scored_from_its_event_if_that_is_enough() -> None:
    """A name and two more values are; less becomes a dead letter with the event's bytes."""
    rich = {"Name": "Acme", "Industry": "Energy", "AnnualRevenue": 5}
    enough = change(1, values=rich, changed_fields=tuple(rich))
    poor = change(2, values={"Name": "Acme", "Industry": "Energy"}, changed_fields=("Name", "Industry"))
    enriched_change, dead_letters = _Step(_Mirror())(enough, poor)
    assert [item.context.profile.name for item in enriched_change] == ["Acme"]
    assert [(it.error_class, it.source.payload) for it in dead_letters] == [
        (ErrorClass.ACCOUNT_NOT_FOUND, poor.source.payload)
    ]


def test_a_short_outage_loses_no_change() -> None:
    """The batch is held, BigQuery is asked again, and every change is enriched."""
    step = _Step(_Mirror(1, 2, failures=3))
    enriched_change, dead_letters = step(change(1), change(2))
    assert (len(enriched_change), dead_letters) == (2, [])
    assert len(step.mirror.asked) == 4


def test_past_the_deadline_a_batch_can_be_replayed() -> None:
    """Its dead letters are retryable and have the events' bytes; changes with cached contexts are still enriched."""
    mirror = _Mirror(1, 2)
    step = _Step(mirror, deadline_seconds=0.03)
    step(change(1))
    mirror.failures = 10**6
    enriched_change, dead_letters = step(change(1), change(2))
    assert [item.change.account_id for item in enriched_change] == [account_id(1)]
    (dead_letter,) = dead_letters
    assert dead_letter.error_class is ErrorClass.BIGQUERY_UNAVAILABLE
    assert dead_letter.source == change(2).source


@pytest.mark.parametrize("outcome", ["found", "missing", "unavailable"])
def test_every_change_has_one_result(outcome: str) -> None:
    """Whatever BigQuery does, there are as many results as changes."""
    mirror = _Mirror(*(range(7) if outcome == "found" else ()), failures=10**6 if outcome == "unavailable" else 0)
    enriched_change, dead_letters = _Step(mirror, deadline_seconds=0)(*(change(number) for number in range(7)))
    assert len(enriched_change) + len(dead_letters) == 7
