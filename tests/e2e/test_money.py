"""A whole run with a token budget and shadow scores."""

from pathlib import Path
from typing import Any

from pipeline.local.demo_input import generated_input
from pipeline.local.stack import LocalStack
from pipeline.resources.names import SCORING_DATASET
from schemas.clock import utc_now
from schemas.outcome import OutcomeKind
from tests.e2e.pipeline_process import run_sample

ACCOUNTS = 30
ADMITTED = 10
OPTIONS = (
    *(f"--daily_token_budget={ADMITTED * 2_250}", "--budget_action=dead_letter"),
    *("--shadow_prompt=v1", "--shadow_percent=100"),
)


def _rows(stack: LocalStack, *, shadow: bool) -> list[dict[str, Any]]:
    """Return the rows of scores, or of shadow scores."""
    sql = f"SELECT * FROM `{stack.project}.{SCORING_DATASET}.account_scores` WHERE status = 'scored'"  # noqa: S608 - names of ours
    return [dict(row) for row in stack.warehouse.query(sql) if bool(row["shadow"]) is shadow]


def _events(rows: list[dict[str, Any]]) -> set[str]:
    return {row["event_ids"][0] for row in rows}


def test_a_run_with_a_budget_and_a_shadow(stack: LocalStack, tmp_path: Path) -> None:
    """With tokens for ten accounts, about ten are scored, and the others are dead letters of the budget.

    Each score has its cost and a shadow score; the ledger has no shadow scores.
    """
    sample = generated_input(ACCOUNTS, 3, as_of=utc_now())

    def has_shadows() -> bool:
        return _events(_rows(stack, shadow=True)) == _events(_rows(stack, shadow=False))

    _, summary = run_sample(stack, sample, *OPTIONS, log=tmp_path / "pipeline.log", until=has_shadows)
    scored = summary.outcomes[OutcomeKind.SCORED]
    exhausted = summary.reasons[OutcomeKind.DEAD_LETTERED]["budget_exhausted"]
    # Ten by the estimate. An account that is not scored within two minutes is counted no longer, and another admitted.
    assert ADMITTED <= scored <= ADMITTED + 2
    assert scored + exhausted >= ACCOUNTS

    scores, shadows = _rows(stack, shadow=False), _rows(stack, shadow=True)
    assert len(scores) == scored
    assert {row["prompt_version"] for row in scores} == {"v3"}
    assert {row["prompt_version"] for row in shadows} == {"v1"}
    assert all(row["cost_usd"] > 0 for row in [*scores, *shadows])
