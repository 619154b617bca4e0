"""`python -m tests.benchmarks.backfill [ACCOUNTS] [OPTION…]`: a backfill of the whole generated CRM, timed.

The command runs against the local stack. The Gemini stand-in answers after one second on average (two at the 95th
percentile), and at most 64 calls are in flight. Options are passed on to `rescore backfill`.
"""

import datetime as dt
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from pipeline.local.crm.generator import FULL_SIZE, generate_crm
from pipeline.local.stack import LocalStack, load_crm, local_stack
from pipeline.resources.names import SCORING_DATASET

MEAN_SECONDS: Final = 1.0
P95_SECONDS: Final = 2.0
CALLS_IN_FLIGHT: Final = 64
TARGET_SECONDS: Final = 60.0


def run(accounts: int, options: list[str]) -> None:
    """Print the duration of a backfill, and the part of it that Gemini's calls alone would take."""
    now = dt.datetime.now(dt.UTC)
    latency = {"mean_seconds": MEAN_SECONDS, "p95_seconds": P95_SECONDS}
    with (
        tempfile.TemporaryDirectory() as folder,
        local_stack(Path(folder), gemini_config={"latency": latency}) as stack,
    ):
        load_crm(stack.warehouse, generate_crm(accounts=accounts, seed=1, as_of=now))
        load = os.getloadavg()[0]
        started = time.monotonic()
        document = _backfill(stack, options)
        elapsed = time.monotonic() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)  # only the command: the stack is still running
        gemini = stack.gemini.stats()
        rows = _rows(stack)
    stand_ins = resource.getrusage(resource.RUSAGE_CHILDREN)
    # The least that the calls can take: the sum of their seconds, 64 at a time.
    at_least = gemini["latency_seconds_sum"] / CALLS_IN_FLIGHT
    print(f"backfill of {accounts:,} accounts, load average before it {load:.1f}")  # noqa: T201
    print(f"  {elapsed:.1f} s as a command, {document['elapsed_seconds']} s without startup")  # noqa: T201
    print(f"  {_cpu(used):.1f} s of CPU in the command, {used.ru_maxrss / 1024:,.0f} MB")  # noqa: T201
    print(f"  {_cpu(stand_ins) - _cpu(used):.1f} s of CPU in the stand-ins, including loading the CRM")  # noqa: T201
    print(f"  {document['outcomes']}, without outcome {document['without_outcome']}, rows {rows:,}")  # noqa: T201
    print(f"  {gemini['calls']:,} calls, {gemini['peak_in_flight']} in flight at most")  # noqa: T201
    print(f"  Gemini alone: {at_least:.1f} s, {at_least / elapsed:.0%} of the time")  # noqa: T201
    print(f"  target {TARGET_SECONDS:.0f} s: {'reached' if elapsed < TARGET_SECONDS else 'missed'}")  # noqa: T201


def _backfill(stack: LocalStack, options: list[str]) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "pipeline",
        "backfill",
        "--all",
        "--execute",
        "--json",
        f"--project={stack.project}",
    ]
    command += [f"--max_calls_in_flight={CALLS_IN_FLIGHT}", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def _rows(stack: LocalStack) -> int:
    sql = f"SELECT COUNT(*) AS n FROM `{stack.project}.{SCORING_DATASET}.current_account_scores`"  # noqa: S608 - our own names
    (row,) = stack.warehouse.query(sql)
    count: int = row["n"]
    return count


if __name__ == "__main__":
    run(int(sys.argv[1]) if len(sys.argv) > 1 else FULL_SIZE, sys.argv[2:])
