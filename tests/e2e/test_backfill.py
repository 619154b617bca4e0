"""`rescore backfill` as a user types it, and after a crash."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from pipeline.evaluation import cli as evaluation_cli
from pipeline.ledger.reconcile import reconcile
from pipeline.local.crm.generator import generate_crm
from pipeline.local.stack import LocalStack, load_crm, local_stack
from pipeline.resources.names import SCORING_DATASET
from schemas.clock import utc_now

ACCOUNTS: Final = 40
SMALL_RUNS: Final = ("--all", "--accounts-per-run=10")
WAIT_SECONDS: Final = 200.0


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[LocalStack]:
    """Return a stack with forty accounts, whose Gemini takes two seconds per answer."""
    with local_stack(tmp_path, gemini_config={"latency": {"mean_seconds": 2.0}}) as started:
        load_crm(started.warehouse, generate_crm(accounts=ACCOUNTS, seed=3, as_of=utc_now()))
        yield started


def _command(stack: LocalStack, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "pipeline", "backfill", "--json", f"--project={stack.project}", *arguments]


def _scored(stack: LocalStack) -> int:
    sql = f"SELECT COUNT(*) AS n FROM `{stack.project}.{SCORING_DATASET}.account_scores`"  # noqa: S608 - names of ours
    (row,) = stack.warehouse.query(sql)
    count: int = row["n"]
    return count


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.2)


def test_a_backfill_that_was_killed_is_resumed(stack: LocalStack) -> None:
    """A backfill that is killed after its first rows and resumed scores the others; every event has one outcome."""
    begun = subprocess.Popen(
        _command(stack, *SMALL_RUNS), env={**os.environ, **stack.environment}, stdout=subprocess.DEVNULL
    )
    try:
        _wait_until(lambda: _scored(stack) > 0)
    finally:
        begun.send_signal(signal.SIGKILL)
        begun.wait()
    kept = _scored(stack)
    assert kept < ACCOUNTS
    done = subprocess.run(
        _command(stack, *SMALL_RUNS, "--resume"), capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["accounts"] == ACCOUNTS
    assert document["already_done"] <= kept
    assert document["without_outcome"] == 0
    (row,) = stack.warehouse.query(
        f"SELECT COUNT(*) AS n FROM `{stack.project}.{SCORING_DATASET}.current_account_scores`"  # noqa: S608 - names of ours
    )
    assert row["n"] == ACCOUNTS
    result = reconcile(project=stack.project, dataset=SCORING_DATASET, since="1h", grace="0m", limit=5)
    assert result.is_ok
    # A score that the crash left without an outcome has an unchanged context, so it is not repeated.
    ended = result.counts["scored"] + result.counts.get("skipped:unchanged_context", 0)
    assert ended == result.counts["received"] == ACCOUNTS


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        ((), "expected exactly one of --all"),
        (("--where", "industri = 'Energy'"), "--where names an unknown column"),
        (("--all", "--modle=x"), "--modle is not an option"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(arguments: tuple[str, ...], remedy: str) -> None:
    """An error that the user can fix is one line, before any service is called."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "backfill", "--project=my-project", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.strip())
    assert remedy in line


@pytest.mark.parametrize("command", ["backfill", "evaluate"])
def test_help_has_an_example(command: str) -> None:
    """Each command's help shows an example."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", command, "--help"], capture_output=True, text=True, timeout=120, check=False
    )
    assert f"rescore {command}" in done.stdout
    assert "Example" in done.stdout


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra `evaluation`, one line says what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ValueError, match=r"pip install .account-rescoring\[evaluation\]"):
        evaluation_cli.require_evaluation()
