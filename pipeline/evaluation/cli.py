"""`rescore evaluate`."""

import datetime as dt
import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from pipeline.terminal.exit_codes import command
from pipeline.terminal.parameters import DAY, DURATION, Json, Project, Verbose
from pipeline.terminal.results import end_with
from pipeline.terminal.times import parse_day, parse_duration

app = typer.Typer()


@app.command(epilog="Example: `rescore evaluate --labels outcomes.csv --as-of 2026-06-30 --picture evaluation.svg`")
def evaluate(
    *,
    project: Project,
    labels: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="CSV with account_id, outcome (won or lost), closed_on; one opportunity per line."
        ),
    ],
    dataset: Annotated[str, typer.Option(help="BigQuery dataset of the scores.")] = "account_scoring",
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar=DAY,
            help="Day whose final scores to evaluate, such as 2026-06-30; default: the last one that the labels cover.",
        ),
    ] = None,
    horizon: Annotated[str, typer.Option(metavar=DURATION, help="How long after that day outcomes count.")] = "90d",
    backtest: Annotated[
        bool, typer.Option("--backtest", help="Use scores that were made later, from a mirror as of that day.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a chart; the name ends in .png or .svg.")
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="Vertex AI experiment to record each version's run in.")
    ] = None,
    location: Annotated[str, typer.Option(help="Region of Vertex AI.")] = "us-central1",
    vertex_endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="REST address of Vertex AI, if not the region's own.")
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Evaluate the scores of a day by what happened since: AUC, calibration by tier, lift in the top tenth."""
    with command(verbose=verbose, doing="evaluating"):
        require_evaluation()
        from pipeline.evaluation.evaluate import evaluate_scores, render  # noqa: PLC0415 - an extra, and slow to import
        from pipeline.evaluation.experiments import ExperimentTarget  # noqa: PLC0415

        report = evaluate_scores(
            project=project,
            dataset=dataset,
            labels=labels,
            as_of=parse_day(as_of, dt.datetime.now(dt.UTC).date(), "--as-of") if as_of is not None else None,
            horizon=parse_duration(horizon, "--horizon"),
            backtest=backtest,
            picture=picture,
            target=ExperimentTarget(project, location, experiment, vertex_endpoint) if experiment else None,
        )
    end_with(report, render, as_json=as_json)


def require_evaluation() -> None:
    """Check that the extra `evaluation` is installed.

    Raises:
        ValueError: It is not; the message says how to install it.
    """
    if missing := [name for name in ("sklearn", "matplotlib") if importlib.util.find_spec(name) is None]:
        raise ValueError(f"{missing[0]} is not installed: pip install 'account-rescoring[evaluation]'")
