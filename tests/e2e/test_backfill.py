"""`rescore backfill` after a crash."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from pipeline.ledger.reconcile import reconcile
from pipeline.local.crm.generator import generate_crm
from pipeline.local.stack import LocalStack, load_crm
from pipeline.resources.names import SCORING_DATASET
from schemas.clock import utc_now

ACCOUNTS: Final = 40
SMALL_RUNS: Final = ("--all", "--accounts-per-run=10")
WAIT_SECONDS: Final = 240.0


def _command(stack: LocalStack, *arguments: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "pipeline",
        "backfill",
        "--execute",
        "--json",
        f"--project={stack.project}",
        *arguments,
    ]


def _rows(stack: LocalStack, table: str) -> int:
    (row,) = stack.warehouse.query(f"SELECT COUNT(*) AS n FROM `{stack.project}.{SCORING_DATASET}.{table}`")  # noqa: S608 - names of ours
    count: int = row["n"]
    return count


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.2)


def test_a_backfill_that_was_killed_is_resumed(stack: LocalStack) -> None:
    """A backfill that is killed after its first rows and resumed scores the others; every event has one outcome."""
    load_crm(stack.warehouse, generate_crm(accounts=ACCOUNTS, seed=3, as_of=utc_now()))
    stack.gemini.configure(latency={"mean_seconds": 3.0})  # so that it is killed before its last run
    begun = subprocess.Popen(_command(stack, *SMALL_RUNS), stdout=subprocess.DEVNULL)
    try:
        _wait_until(lambda: _rows(stack, "account_scores") > 0)
    finally:
        begun.send_signal(signal.SIGKILL)
        begun.wait()
    stack.gemini.configure(latency="instant")
    kept = _rows(stack, "account_scores")
    assert kept < ACCOUNTS
    done = subprocess.run(
        _command(stack, *SMALL_RUNS, "--resume"), capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["accounts"] == ACCOUNTS
    assert document["already_done"] <= kept
    assert document["without_outcome"] == 0
    assert _rows(stack, "current_account_scores") == ACCOUNTS
    result = reconcile(project=stack.project, dataset=SCORING_DATASET, since="1h", grace="0m", limit=5)
    assert result.is_ok
    # A score that the crash left without an outcome has an unchanged context, so it is not repeated.
    ended = result.counts["scored"] + result.counts.get("skipped:unchanged_context", 0)
    assert ended == result.counts["received"] == ACCOUNTS
