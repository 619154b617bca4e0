"""A whole run with a token budget and shadow scores."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from pipeline.local.bigquery_emulator import BigQueryEmulator
from pipeline.local.credentials import credentials_environment, write_service_account_file
from pipeline.local.demo import run_demo
from pipeline.local.demo_input import generated_input
from pipeline.local.gemini import GeminiStandIn
from pipeline.local.stack import PROJECT
from pipeline.resources.names import SCORING_DATASET
from schemas.outcome import OutcomeKind
from transforms.clients.bigquery import Warehouse

ACCOUNTS = 30


def _rows(data_dir: Path, patch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the score rows of a run."""
    columns = "account_id, event_ids, shadow, prompt_version, cost_usd, prompt_tokens, output_tokens, status"
    with GeminiStandIn() as tokens, BigQueryEmulator(data_dir) as emulator:
        key_file = write_service_account_file(data_dir / "key.json", tokens.token_url, PROJECT)
        for name, value in {"BIGQUERY_EMULATOR_HOST": emulator.url, **credentials_environment(key_file)}.items():
            patch.setenv(name, value)
        warehouse = Warehouse(PROJECT)
        rows = [dict(row) for row in warehouse.query(f"SELECT {columns} FROM `{SCORING_DATASET}.account_scores`")]  # noqa: S608 - names of ours
        warehouse.close()
        return rows


def test_a_run_with_a_budget_and_a_shadow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With tokens for ten accounts, about ten are scored, and the others are dead letters of the budget.

    Each score has its cost and a shadow score; the ledger has no shadow scores.
    """
    options = ("--daily_token_budget=22500", "--budget_action=dead_letter")
    shadow = ("--shadow_prompt=v1", "--shadow_percent=100")
    result = run_demo(
        generated_input(ACCOUNTS, 3, as_of=dt.datetime.now(dt.UTC)),
        data_dir=tmp_path,
        pipeline_options=(*options, *shadow),
    )
    assert result.unexplained == 0
    outcomes, reasons = result.summary.outcomes, result.summary.reasons
    # Ten by the estimate; one or two more if the run lasts until the table shows that the first ones cost less.
    assert 10 <= outcomes[OutcomeKind.SCORED] <= 12
    exhausted = reasons[OutcomeKind.DEAD_LETTERED]["budget_exhausted"]
    assert outcomes[OutcomeKind.SCORED] + exhausted >= ACCOUNTS

    rows = [row for row in _rows(tmp_path, monkeypatch) if row["status"] == "scored"]
    scores = [row for row in rows if not row["shadow"]]
    shadows = [row for row in rows if row["shadow"]]
    assert len(scores) == outcomes[OutcomeKind.SCORED]
    assert {row["prompt_version"] for row in scores} == {"v2"}
    assert {row["prompt_version"] for row in shadows} == {"v1"}
    # Shadow scores are inserted separately: those of the last second can be missing at the end of the run.
    assert {row["event_ids"][0] for row in shadows} <= {row["event_ids"][0] for row in scores}
    assert all(row["cost_usd"] > 0 for row in rows)
