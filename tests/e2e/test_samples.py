"""Sample events through the whole pipeline: `rescore demo` as a user types it, and its inputs on a shared stack."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.local.demo_input import events_input, extract_input
from pipeline.local.stack import LocalStack
from schemas.clock import utc_now
from schemas.outcome import OutcomeKind
from tests.e2e.pipeline_process import run_sample

FIRST_DEALS = 120
FINALS = ("scored", "tombstoned", "skipped", "coalesced", "dead_lettered", "resync_requested")


def _demo(*arguments: str, timeout: float = 280) -> dict[str, Any]:
    command = [sys.executable, "-m", "pipeline", "demo", "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_demo_rescores_every_account() -> None:
    """Generated events pass through the whole pipeline; every account is scored, and every event has its outcome."""
    document = _demo("--accounts", "40", "--seed", "21")
    assert document["accounts_scored"] == 40
    assert document["accounts_found"]["mirror"] > 0
    assert document["unexplained"] == 0
    assert document["received"] == sum(document[kind] for kind in FINALS)
    assert 0 < document["gemini_calls"] < document["scored"]
    assert document["tokens"] > 0
    assert document["latency_seconds"]["p50"] > 0
    assert len(document["highest_scores"]) == 5
    assert all(score["drivers"] for score in document["highest_scores"])


def test_published_events_have_outcomes(published_events: Path, stack: LocalStack, tmp_path: Path) -> None:
    """Published events of other projects each end in an outcome, and the accounts that they name are scored."""
    sample = events_input(published_events, accounts=10, seed=1, as_of=utc_now())
    published, summary = run_sample(stack, sample, log=tmp_path / "pipeline.log")
    assert published == 13
    assert summary.outcomes["received"] == 14 == sum(summary.outcomes[kind] for kind in FINALS)
    assert summary.reasons[OutcomeKind.SKIPPED]["unsupported_entity"] == 2
    assert summary.reasons[OutcomeKind.DEAD_LETTERED] == {"unsupported_event": 1, "account_not_named": 1}
    assert sample.accounts_added == summary.accounts_scored == 5


def test_the_first_deals_of_a_crm_extract_rescore_their_accounts(
    crm_extract: Path, stack: LocalStack, tmp_path: Path
) -> None:
    """The deals of a real CRM, with and without an account, rescore each of their accounts."""
    for name in ("accounts.csv", "products.csv", "sales_teams.csv"):
        (tmp_path / name).write_bytes((crm_extract / name).read_bytes())
    lines = (crm_extract / "sales_pipeline.csv").read_text().splitlines(keepends=True)[:FIRST_DEALS]
    (tmp_path / "sales_pipeline.csv").write_text("".join(lines))
    _, summary = run_sample(stack, extract_input(tmp_path), log=tmp_path / "pipeline.log")
    assert summary.accounts_scored == len(_accounts_with_deals(tmp_path))
    assert summary.outcomes["coalesced"] > 0
    assert summary.reasons[OutcomeKind.SKIPPED]["no_account"] > 0


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_demo_replays_a_crm_extract(crm_extract: Path) -> None:
    """All deals of a real CRM, as its users sell, rescore each of their accounts."""
    document = _demo("--crm", str(crm_extract), timeout=1_100)
    assert document["unexplained"] == 0
    assert document["accounts_scored"] == len(_accounts_with_deals(crm_extract))
    assert document["coalesced"] > 0
    assert document["skipped_by_reason"]["no_account"] > 0


@pytest.mark.slow
def test_demo_accounts_for_events_from_files(published_events: Path) -> None:
    """The command publishes the events of a folder, and says how many accounts it added to the mirror."""
    document = _demo("--events", str(published_events), "--accounts", "10")
    assert (document["published"], document["received"], document["unexplained"]) == (13, 14, 0)
    assert document["accounts_added"] == document["accounts_scored"] == 5


def _accounts_with_deals(folder: Path) -> set[str]:
    with (folder / "sales_pipeline.csv").open() as deals:
        return {deal["account"] for deal in csv.DictReader(deals) if deal["account"]}
