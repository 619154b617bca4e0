"""`python -m tests.benchmarks.beam_day [stages|graph]`: a day of 100,000 deliveries through Beam, as a batch run.

`stages` measures the CPU of parsing to coalescing, the median of three runs. `graph` runs the whole pipeline with the
BigQuery emulator, the Gemini stand-in and the embedded Pub/Sub, and then `rescore reconcile`. A batch run has no
pauses, so each account's changes become one; reconciled_day.py has the share that reaches Gemini in a day of streaming.
"""

import base64
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner, worker_handlers

from pipeline.config.options import config_from
from pipeline.graph import build_graph
from pipeline.ledger.reconcile import reconcile
from pipeline.local.crm.generator import generate_crm
from pipeline.local.stack import PROJECT, load_crm, local_stack
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET
from pipeline.terminal.logs import configure_logging
from tests.benchmarks.emulated_warehouse import emulated_warehouse
from tests.benchmarks.org_day import ACCOUNTS, DAY_START, Arrival, arrivals, mirrored_accounts, simulate
from tests.benchmarks.ratios import keep
from tests.fixtures.changes import ACCOUNT_FIELDS
from transforms.clients.bigquery import Warehouse
from transforms.coalesce.coalesce_by_account import CoalesceByAccount
from transforms.filter.drop_immaterial_changes import DropImmaterialChanges
from transforms.filter.materiality import load_materiality
from transforms.find.find_accounts import FindAccounts
from transforms.find.look_up_accounts import LookUpSettings
from transforms.find.remember_accounts import Changes
from transforms.parse.parse_change_events import ParseChangeEvents

BEAMS_CACHE_MEGABYTES: Final = worker_handlers.STATE_CACHE_SIZE_MB
CACHED_EVENTS: Final = 20_000
"""Events of the runs that compare Beam's state cache: enough, because the cache makes a run slow."""

PAIRS: Final = 3
"""Runs without and with Find accounts, in turns."""

SEED: Final = 1
_NEWEST: Final = """
SELECT account_id, MAX(STRUCT(UNIX_MILLIS(change_committed_at) AS at, change_sequence AS sequence)) AS newest
FROM `{dataset}.account_scores`
WHERE scored_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 DAY)
GROUP BY account_id
"""


def read_day(path: str) -> Iterator[PubsubMessage]:
    """Yield the messages of a file of base64 lines. Beam would compress messages in the graph, which takes long."""
    with Path(path).open("rb") as lines:
        for number, line in enumerate(lines):
            yield PubsubMessage(base64.b64decode(line), {}, str(number))


def write_day(file: Path, came: list[Arrival]) -> None:
    """Write messages to a file for `read_day`."""
    file.write_bytes(b"".join(base64.b64encode(arrival.payload) + b"\n" for arrival in came))


def set_state_cache(megabytes: int) -> None:
    """Set the size of the state cache of FnApiRunner's embedded worker, which reads a constant of Beam and no option.

    For other workers the option is --max_cache_memory_usage_mb; docs/adr/005 says why it is 0.
    """
    worker_handlers.STATE_CACHE_SIZE_MB = megabytes


def to_coalesced(path: str, *, finds_accounts: bool = True) -> float:
    """Return the CPU seconds of a batch run from bytes to coalesced changes, including reading and startup.

    Args:
        path: The day's file.
        finds_accounts: Whether related records that name no account are looked up, in the mirror of the environment;
            otherwise they end here, as they did before that step was there.
    """
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))
    parsed = _messages(pipeline, path) | "Parse change events" >> ParseChangeEvents("1", ACCOUNT_FIELDS)
    dropped = parsed.changes | "Drop immaterial changes" >> DropImmaterialChanges(load_materiality(), "1")
    changes, found = dropped.material, []
    if finds_accounts:
        unnamed = parsed.unnamed | "Drop unnamed" >> DropImmaterialChanges(load_materiality(), "1", are_unnamed=True)
        where = LookUpSettings(PROJECT, CRM_DATASET, ACCOUNT_FIELDS)
        named = Changes(dropped.material, unnamed.material) | "Find accounts" >> FindAccounts(where, "1", 604_800.0)
        changes, found = named.changes, [unnamed.outcomes, named.outcomes, named.dead_letters]
    coalesced = changes | "Coalesce by account" >> CoalesceByAccount("1")
    for number, ends in enumerate((parsed.outcomes, parsed.dead_letters, dropped.outcomes, *found, *coalesced)):
        _ = ends | f"Count {number}" >> beam.combiners.Count.Globally()
    started = time.process_time()
    pipeline.run().wait_until_finish()
    return time.process_time() - started


def whole_graph(path: str) -> float:
    """Run the pipeline over a day, and return the seconds."""
    options = PipelineOptions([f"--project={PROJECT}", "--batch_size=100"])
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=options)
    build_graph(_messages(pipeline, path), config_from(options))
    started = time.monotonic()
    pipeline.run().wait_until_finish()
    return time.monotonic() - started


def overtaken(warehouse: Warehouse, came: list[Arrival]) -> int:
    """Return how many accounts have, in account_scores, another newest change than was delivered."""
    expected = {
        account_id: (round(change.committed_at.timestamp() * 1000), change.sequence_number)
        for account_id, change in simulate(came, mirrored_accounts(SEED)).newest.items()
    }
    rows = warehouse.query(_NEWEST.format(dataset=f"{PROJECT}.{SCORING_DATASET}"))
    found = {row["account_id"]: (row["newest"]["at"], row["newest"]["sequence"]) for row in rows}
    return sum(found.get(account_id) != order for account_id, order in expected.items())


def run_stages(path: str, came: list[Arrival], folder: Path) -> None:
    """Print the events per CPU second of the stages up to coalescing, without and with Beam's state cache."""
    with emulated_warehouse() as warehouse:
        load_crm(warehouse, generate_crm(accounts=ACCOUNTS, seed=SEED, as_of=DAY_START))
        # In turns, since the machine's speed varies.
        pairs = [(to_coalesced(path, finds_accounts=False), to_coalesced(path)) for _ in range(PAIRS)]
    before, rates = ([len(came) / seconds for seconds in one] for one in zip(*pairs, strict=True))
    print(f"bytes to coalesced, FnApiRunner: {statistics.median(rates):,.0f} events/s of CPU")  # noqa: T201 - a report
    print(f"  without Find accounts: {statistics.median(before):,.0f} events/s")  # noqa: T201 - a report
    some = folder / "some"
    write_day(some, came[:CACHED_EVENTS])
    without = CACHED_EVENTS / to_coalesced(str(some), finds_accounts=False)
    set_state_cache(BEAMS_CACHE_MEGABYTES)
    cached = CACHED_EVENTS / to_coalesced(str(some), finds_accounts=False)
    set_state_cache(0)
    print(f"{CACHED_EVENTS:,} events: {without:,.0f} events/s, with Beam's state cache {cached:,.0f}")  # noqa: T201
    keep(
        "a day through Beam, events/s of CPU",
        {"day": rates, "not found": before, "some": without, "some, state cached": cached},
    )


def run_graph(path: str, came: list[Arrival], folder: Path) -> None:
    """Print the duration of a day's batch run, and the result of reconciling its ledger."""
    with local_stack(folder) as stack:
        load_crm(stack.warehouse, generate_crm(accounts=ACCOUNTS, seed=SEED, as_of=DAY_START))
        seconds = whole_graph(path)
        calls = stack.gemini.stats()["calls"]
        result = reconcile(project=PROJECT, dataset=SCORING_DATASET, since="1h", grace="1s", limit=20).document()
        wrong = overtaken(stack.warehouse, came)
    print(f"the whole graph: {seconds:,.0f} s, {calls:,} calls to Gemini")  # noqa: T201 - a report for people
    print(f"reconcile: ok {result['ok']}, unexplained {result['unexplained']}, double {result['double']}")  # noqa: T201
    print(f"accounts whose newest score is of another change: {wrong}")  # noqa: T201
    print(result["counts"])  # noqa: T201
    keep("a day through Beam", {"seconds": seconds, "calls": calls, "overtaken": wrong, "counts": result["counts"]})


def run(parts: list[str]) -> None:
    """Run one of the parts, or both."""
    configure_logging(verbose=False)
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    set_state_cache(0)
    came = arrivals(SEED)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "day"
        write_day(file, came)
        if "graph" not in parts:
            run_stages(str(file), came, Path(folder))
        if "stages" not in parts:
            run_graph(str(file), came, Path(folder))


def _messages(pipeline: beam.Pipeline, path: str) -> beam.PCollection[PubsubMessage]:
    return (
        pipeline
        | "Name the day" >> beam.Create([path], reshuffle=False)
        | "Read the day" >> beam.FlatMap(read_day).with_output_types(PubsubMessage)
    )


if __name__ == "__main__":
    run(sys.argv[1:])
