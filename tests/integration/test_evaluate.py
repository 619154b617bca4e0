"""Evaluation by real outcomes: accounts scored as of a day, and the deals that closed afterwards."""

import datetime as dt
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.backfill.preparation import Selection
from pipeline.backfill.runs import backfill
from pipeline.evaluation.evaluate import EvaluationReport, evaluate_scores, render
from pipeline.evaluation.experiments import ExperimentTarget
from pipeline.evaluation.metrics import LabelledOutcome
from pipeline.local.crm.extract import load_crm_extract
from pipeline.local.stack import PROJECT, load_crm
from pipeline.resources.names import SCORING_DATASET
from schemas.score import Score, ScoreStatus, tier_of
from schemas.tables import ACCOUNT_SCORES
from tests.fixtures.changes import account_id
from tests.fixtures.closed_deals import closed_deals
from tests.fixtures.labels import write_labels
from tests.integration.vertex_experiments_stand_in import vertex_experiments
from transforms.clients.bigquery import Warehouse

DAY = dt.date(2017, 6, 30)
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)


def labels_of(folder: Path, after: dt.date) -> Iterator[LabelledOutcome]:
    """Yield the extract's deals that closed after a day, as labels."""
    for deal in closed_deals(folder, after=after):
        if deal.account_id and deal.closed_on:
            yield LabelledOutcome(deal.account_id, deal.is_won, deal.closed_on)


def test_scores_of_a_real_crm_are_evaluated_by_later_deals(
    crm_extract: Path, warehouse: Warehouse, tmp_path: Path
) -> None:
    """The mirror as of mid 2017, its 85 accounts scored as of then, and the outcomes of the next 90 days.

    The scores are the stand-in's: the figures say nothing about a model.
    """
    load_crm(warehouse, load_crm_extract(crm_extract, as_of=DAY))
    warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, [])
    end_of_day = dt.datetime.combine(DAY, dt.time(23, 59, 59), dt.UTC)
    everything = Selection(everything=True)
    result = backfill(
        [f"--project={PROJECT}"],
        everything,
        resume=False,
        mirror_lag=dt.timedelta(0),
        as_of=end_of_day,
        run_size=100,
    )
    assert result.document()["outcomes"] == {"scored": 85}
    labels = tmp_path / "labels.csv"
    write_labels(labels, labels_of(crm_extract, DAY))
    picture = tmp_path / "evaluation.svg"
    with vertex_experiments() as service:
        target = ExperimentTarget(PROJECT, "us-central1", "account-scores", service.url)
        report = _evaluate(labels, backtest=True, as_of=DAY, picture=picture, target=target)
        (run,) = service.runs().values()
    (evaluation,) = report["evaluations"]
    assert evaluation["bought"]["count"] == 85
    assert evaluation["won"]["count"] > 1_000
    assert 0 < evaluation["won"]["good"] < evaluation["won"]["count"]
    assert 0 <= evaluation["won"]["auc_interval"][0] <= evaluation["won"]["auc"] <= evaluation["won"]["auc_interval"][1]
    assert sum(tier["accounts"] for tier in evaluation["tiers"]) == 85
    assert run["_metrics"]["auc_won"] == evaluation["won"]["auc"]
    assert run["_params"]["prompt_version"] == evaluation["prompt_version"]
    assert picture.stat().st_size > 5_000
    with pytest.raises(ValueError, match="add --backtest"):
        _evaluate(labels, backtest=False, as_of=DAY)


def test_a_score_made_later_does_not_count(warehouse: Warehouse, tmp_path: Path) -> None:
    """For each version the newest score as of the day counts: not one made later, nor one of a later change."""
    day = (NOW - dt.timedelta(days=30)).date()
    before, after = NOW - dt.timedelta(days=40), NOW - dt.timedelta(days=5)
    rows = [
        _score(1, 90, committed=before, scored=before),
        _score(1, 10, committed=before, scored=after),
        _score(1, 20, committed=after, scored=after),
        _score(2, 30, committed=before, scored=before),
        _score(2, 99, committed=before, scored=before, prompt="v2"),
    ]
    warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, rows)
    labels = tmp_path / "labels.csv"
    closed = day + dt.timedelta(days=3)
    outcomes = [LabelledOutcome(account_id(1), True, closed), LabelledOutcome(account_id(2), False, closed)]
    write_labels(labels, outcomes)
    first, second = _evaluate(labels, backtest=False, as_of=day)["evaluations"]
    assert (first["prompt_version"], first["bought"]["auc"]) == ("v1", 1.0)
    assert {tier["tier"]: tier["accounts"] for tier in first["tiers"]} == {"hot": 1, "warm": 0, "cool": 1, "cold": 0}
    assert (second["prompt_version"], second["bought"]["count"]) == ("v2", 1)


def test_the_command_prints_one_document(warehouse: Warehouse, tmp_path: Path) -> None:
    """The command prints one JSON document; the default is the last day that the labels cover."""
    warehouse.replace_rows(
        SCORING_DATASET,
        ACCOUNT_SCORES,
        [_score(1, 90, committed=NOW - dt.timedelta(days=40), scored=NOW - dt.timedelta(days=40))],
    )
    labels = tmp_path / "labels.csv"
    write_labels(labels, [LabelledOutcome(account_id(1), True, NOW.date())])
    done = _rescore("--labels", str(labels), "--project", PROJECT, "--horizon", "30d", "--json")
    assert done.returncode == 0, done.stderr[-2_000:]
    document = json.loads(done.stdout)
    assert document["as_of"] == (NOW.date() - dt.timedelta(days=30)).isoformat()
    assert document["evaluations"][0]["bought"]["good"] == 1
    report = render(evaluate_report(labels, as_of=NOW.date() - dt.timedelta(days=30)))
    shown = io.StringIO()
    Console(file=shown, width=100).print(report)
    assert "accounts that bought" in shown.getvalue()


def test_a_plot_in_another_format_is_refused_first(tmp_path: Path) -> None:
    """The format is refused before BigQuery is called; the message names the formats."""
    with pytest.raises(ValueError, match=r"must end in .png or .svg"):
        evaluate_report(tmp_path / "none.csv", as_of=DAY, picture=tmp_path / "x.gif")


def _rescore(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pipeline", "evaluate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def evaluate_report(labels: Path, *, as_of: dt.date, backtest: bool = False, **where: Any) -> EvaluationReport:
    """Evaluate with the defaults of the command."""
    return evaluate_scores(
        project=PROJECT,
        dataset=SCORING_DATASET,
        labels=labels,
        as_of=as_of,
        horizon=dt.timedelta(days=90),
        backtest=backtest,
        **{"picture": None, "target": None} | where,
    )


def _evaluate(labels: Path, *, backtest: bool, as_of: dt.date, **where: Any) -> dict[str, Any]:
    document: dict[str, Any] = evaluate_report(labels, backtest=backtest, as_of=as_of, **where).document()
    return document


def _score(number: int, score: int, *, committed: dt.datetime, scored: dt.datetime, prompt: str = "v1") -> Score:
    return Score(
        account_id=account_id(number),
        score_id=f"{number}-{score}",
        event_ids=("e",),
        change_committed_at=committed,
        change_sequence=1,
        scored_at=scored,
        status=ScoreStatus.SCORED,
        score=score,
        tier=tier_of(score),
        model="m",
        prompt_version=prompt,
        trace_id="t",
        pipeline_version="1",
    )
