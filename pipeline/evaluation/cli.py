"""`rescore evaluate`: how good scores were."""

import importlib.util
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.terminal.exit_codes import ends_in_order, one_line_errors
from pipeline.terminal.logs import configure_logging
from pipeline.terminal.parameters import Json, Verbose

app = typer.Typer()


@app.command(epilog="Example: `rescore evaluate --labels outcomes.csv --as-of 2026-06-30 --picture evaluation.svg`")
def evaluate(
    *,
    project: Annotated[str, typer.Option(envvar="GOOGLE_CLOUD_PROJECT", help="Google Cloud project of the scores.")],
    labels: Annotated[
        Path, typer.Option(metavar="FILE", help="CSV: account_id, outcome (won or lost), closed_on; a line each.")
    ],
    dataset: Annotated[str, typer.Option(help="Dataset of the scores.")] = "account_scoring",
    as_of: Annotated[
        str | None,
        typer.Option(metavar="DAY", help="Scores that stood at its end; else the last day that labels cover."),
    ] = None,
    horizon: Annotated[str, typer.Option(help="For how long after that day outcomes count.")] = "90d",
    backtest: Annotated[
        bool, typer.Option("--backtest", help="Scores were made later, from a mirror that stood still at that day.")
    ] = False,
    picture: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it: a name in .png or .svg.")] = None,
    experiment: Annotated[
        str | None, typer.Option(help="Vertex AI experiment that each version's run is recorded in.")
    ] = None,
    location: Annotated[str, typer.Option(help="Region of Vertex AI.")] = "us-central1",
    vertex_endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Vertex AI's REST address, if it is not the region's own.")
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Judge the scores of a day by what happened since: AUC, calibration by tier, lift in the top tenth."""
    configure_logging(verbose=verbose)
    with one_line_errors(), ends_in_order():
        require_evaluation()
        from pipeline.evaluation.evaluate import as_json as to_json  # noqa: PLC0415 - an extra, and slow to import
        from pipeline.evaluation.evaluate import evaluate_scores, render  # noqa: PLC0415
        from pipeline.evaluation.experiments import ExperimentTarget  # noqa: PLC0415
        from pipeline.ledger.reconciliation import parse_duration, parse_time  # noqa: PLC0415

        report = evaluate_scores(
            project=project,
            dataset=dataset,
            labels=labels,
            as_of=parse_time(as_of, "--as-of").date() if as_of else None,
            horizon=parse_duration(horizon),
            backtest=backtest,
            picture=picture,
            target=ExperimentTarget(project, location, experiment, vertex_endpoint) if experiment else None,
        )
    if as_json:
        sys.stdout.write(to_json(report) + "\n")
    else:
        Console().print(render(report))


def require_evaluation() -> None:
    """Check that the extra `evaluation` is installed.

    Raises:
        ValueError: It is not; the message says how to install it.
    """
    if missing := [name for name in ("sklearn", "matplotlib") if importlib.util.find_spec(name) is None]:
        raise ValueError(f"{missing[0]} is not installed: pip install 'account-rescoring[evaluation]'")
