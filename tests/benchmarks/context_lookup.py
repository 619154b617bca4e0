"""`python -m tests.benchmarks.context_lookup [SEED]`: the cost of context lookups, with and without cache; minutes.

Uses the BigQuery emulator with a CRM of 8,803 accounts and, if it is installed, a real Redis. Hit rates are those of a
day of 100,000 deliveries (tests/benchmarks/org_day.py), by the freshness rule of the pipeline's cache.
"""

import datetime as dt
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import pytest
from msgspec import structs

from pipeline.local.crm.generator import generate_crm
from pipeline.local.stack import PROJECT, load_crm
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET
from schemas.account_context import AccountContext, context_hash
from schemas.change_event import AccountChange
from schemas.outcome import OutcomeKind
from schemas.score import Score, ScoreStatus
from schemas.tables import ACCOUNT_SCORES
from tests.benchmarks.emulated_warehouse import emulated_warehouse
from tests.benchmarks.org_day import DAY_START, Arrival, Day, arrivals, simulate
from tests.benchmarks.ratios import BUILD
from tests.fixtures.changes import change
from tests.fixtures.redis_server import RedisServer
from transforms.clients.bigquery import QueryValue, Warehouse
from transforms.clients.outage import OutageGate, OutageSettings, ThrottledSeconds
from transforms.clients.redis import RedisSettings, RedisStore
from transforms.enrich.account_contexts import ContextBounds, read_account_contexts
from transforms.enrich.add_account_context import AddAccountContext, _LookUp
from transforms.enrich.context_cache import CacheSettings, ContextCache, ProcessStore, Store, encode_entry, read_after
from transforms.enrich.skip_unchanged_contexts import read_last_scores

ACCOUNTS: Final = 8_803
LOOKED_UP: Final = 1_000
BATCH: Final = 40
BACKLOG_EVENTS_A_SECOND: Final = 200
CACHE: Final = CacheSettings()
AS_OF: Final = DAY_START


class _Counted:
    """A warehouse that counts its queries."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.project = warehouse.project
        self.queries = 0

    def look_up(self, sql: str, parameters: Mapping[str, QueryValue]) -> list[Mapping[str, Any]]:
        self.queries += 1
        return self.warehouse.look_up(sql, parameters)


def _step(warehouse: _Counted, stores: Sequence[Store]) -> _LookUp:
    step = _LookUp(AddAccountContext(PROJECT, CRM_DATASET, "benchmark"))
    step.warehouse = warehouse  # type: ignore[assignment] # counts and delegates
    step.outage_gate = OutageGate("benchmark", OutageSettings())
    step.throttled = ThrottledSeconds("benchmark")
    step.cache = ContextCache(stores, "crm", CACHE) if stores else None
    return step


def _batches(changes: Sequence[AccountChange]) -> list[list[AccountChange]]:
    return [list(changes[place : place + BATCH]) for place in range(0, len(changes), BATCH)]


def _milliseconds(calls: Sequence[Callable[[], object]]) -> dict[str, float]:
    took = []
    for call in calls:
        started = time.perf_counter()
        call()
        took.append((time.perf_counter() - started) * 1_000)
    cuts = statistics.quantiles(took, n=20)
    return {"p50_ms": round(statistics.median(took), 2), "p95_ms": round(cuts[18], 2), "max_ms": round(max(took), 2)}


def _lookups(warehouse: Warehouse, changes: list[AccountChange], redis: RedisServer | None) -> dict[str, Any]:
    batches = _batches(changes[:LOOKED_UP])
    process = ProcessStore(CACHE.ttl_seconds, CACHE.max_process_bytes)
    far = [RedisStore(RedisSettings("BENCHMARK_REDIS_URL"), CACHE.ttl_seconds)] if redis else []
    # Redis is down: nothing listens on port 1.
    down = RedisStore(RedisSettings("redis://127.0.0.1:1/0"), CACHE.ttl_seconds)
    down.get_many(["a"])
    down.get_many(["a"])
    ways: dict[str, list[Store]] = {"no cache": [], "first time, cached": [process, *far], "again": [process, *far]}
    if redis:
        ways["another process, from Redis"] = [ProcessStore(CACHE.ttl_seconds, CACHE.max_process_bytes), *far]
    ways["again, Redis is down"] = [process, down]
    results = {}
    for way, stores in ways.items():
        counted = _Counted(warehouse)
        step = _step(counted, stores)
        took = _milliseconds([lambda batch=batch, step=step: list(step.process(batch)) for batch in batches])  # type: ignore[misc]
        results[way] = {"queries_per_1000_accounts": counted.queries * 1_000 / len(batches) / BATCH, **took}
    started = time.perf_counter()
    for _ in range(10_000):
        down.get_many(["a"])
    results["a call of a Redis that is down"] = {"us": round((time.perf_counter() - started) / 10_000 * 1e6, 1)}
    return results


def _last_scores(warehouse: Warehouse, changes: list[AccountChange]) -> dict[str, float]:
    now = dt.datetime.now(dt.UTC)
    rows = [
        Score(
            account_id=item.account_id,
            score_id=f"{item.event_id}-{place}",
            event_ids=(item.event_id,),
            change_committed_at=item.committed_at - dt.timedelta(hours=place),
            change_sequence=1,
            scored_at=now - dt.timedelta(hours=place),
            status=ScoreStatus.SCORED,
            score=50,
            context_hash="0" * 32,
            trace_id="t",
            pipeline_version="1",
        )
        for item in changes
        for place in range(5)
    ]
    warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, rows)

    def read(batch: Sequence[AccountChange]) -> None:
        wanted = [item.account_id for item in batch]
        read_last_scores(warehouse, SCORING_DATASET, wanted, since=now - dt.timedelta(days=7), until=now)

    return {"rows": float(len(rows))} | _milliseconds(
        [lambda batch=batch: read(batch) for batch in _batches(changes[:LOOKED_UP])]  # type: ignore[misc]
    )


def _bytes(contexts: Sequence[AccountContext]) -> dict[str, float]:
    entries = [encode_entry(context, AS_OF) for context in contexts]
    started = time.process_time()
    for context in contexts:
        context_hash(context)
    return {
        "json": round(statistics.mean(len(context.model_dump_json().encode()) for context in contexts)),
        "entry": round(statistics.mean(map(len, entries))),
        "hash_us": round((time.process_time() - started) / len(contexts) * 1e6),
    }


def _hit_rate(day: Day) -> dict[str, Any]:
    """Return how many of a day's lookups the cache would answer, each at the time when its change was emitted."""
    read: dict[str, dt.datetime] = {}
    lookups = hits = 0
    lag = dt.timedelta(seconds=CACHE.mirror_lag_seconds)
    for outcome in day.outcomes:
        if outcome.outcome is not OutcomeKind.SCORED or outcome.account_id is None or outcome.committed_at is None:
            continue
        now, lookups = outcome.recorded_at, lookups + 1
        oldest = read_after([_at(outcome.account_id, outcome.committed_at)], lag)[outcome.account_id]
        at = read.get(outcome.account_id)
        if at and at >= max(oldest, now - dt.timedelta(seconds=CACHE.ttl_seconds)):
            hits += 1
        else:
            read[outcome.account_id] = now
    return {"lookups": lookups, "hits": hits, "rate": round(hits / lookups, 4)}


def _at(account_id: str, committed_at: dt.datetime) -> AccountChange:
    return structs.replace(_TEMPLATE, account_id=account_id, committed_at=committed_at)


_TEMPLATE: Final = change(1)


def _drained(came: Sequence[Arrival]) -> list[Arrival]:
    """Return a day's deliveries as a backlog that is read after the day, as when the pipeline was down."""
    start = came[-1].at
    return [replace(arrival, at=start + index / BACKLOG_EVENTS_A_SECOND) for index, arrival in enumerate(came)]


def run(seed: int) -> None:
    """Print the figures, and keep them as JSON under build/."""
    figures: dict[str, Any] = {}
    came = arrivals(seed)
    figures["a day as it happens"] = _hit_rate(simulate(came))
    figures[f"the day's backlog at {BACKLOG_EVENTS_A_SECOND} events/s"] = _hit_rate(simulate(_drained(came)))
    crm = generate_crm(accounts=ACCOUNTS, seed=seed, as_of=AS_OF)
    changes = [
        change(number, account_id=profile.account_id, record_id=profile.account_id, committed_at=AS_OF)
        for number, profile in enumerate(crm.accounts)
    ]
    with emulated_warehouse() as warehouse, pytest.MonkeyPatch.context() as environment, _redis(environment) as redis:
        load_crm(warehouse, crm)
        figures |= _lookups(warehouse, changes, redis)
        figures["last scores of a batch"] = _last_scores(warehouse, changes)
        found = read_account_contexts(
            warehouse,
            CRM_DATASET,
            [item.account_id for item in changes[:LOOKED_UP]],
            since=AS_OF - ContextBounds().lookback,
            until=AS_OF,
            bounds=ContextBounds(),
        )
        figures["bytes of a context"] = _bytes([it for it in found.values() if isinstance(it, AccountContext)])
    for name, figure in figures.items():
        print(f"{name:40} {figure}")  # noqa: T201 - a report for people
    BUILD.mkdir(exist_ok=True)
    (BUILD / "context_lookup.json").write_text(json.dumps(figures, indent=2))


@contextmanager
def _redis(environment: pytest.MonkeyPatch) -> Iterator[RedisServer | None]:
    try:
        server = RedisServer()
    except pytest.skip.Exception as reason:
        print(f"without Redis: {reason}")  # noqa: T201 - a report for people
        yield None
        return
    with server:
        environment.setenv("BENCHMARK_REDIS_URL", server.url)
        yield server


if __name__ == "__main__":
    run(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
