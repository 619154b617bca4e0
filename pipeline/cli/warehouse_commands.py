"""`rescore backfill` and `evaluate`: scores for accounts that no change came for, and how good scores were."""

import importlib.util
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.cli.endings import ends_in_order, one_line_errors
from pipeline.cli.parameters import Json, Verbose
from pipeline.logs import configure_logging

app = typer.Typer()


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="Example: `rescore backfill --where \"industry = 'Energy'\" --project=my-project`",
)
def backfill(
    context: typer.Context,
    *,
    accounts: Annotated[Path | None, typer.Option(metavar="FILE", help="Account ids, one a line.")] = None,
    where: Annotated[
        str | None, typer.Option(metavar="FILTER", help="Accounts of the mirror: columns of crm.accounts, compared.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every account of the mirror.")] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the last backfill: accounts scored since it began are left out."),
    ] = False,
    mirror_lag: Annotated[
        str, typer.Option(help="How far the mirror may be behind; a change since then beats the backfill.")
    ] = "15m",
    as_of: Annotated[
        str | None,
        typer.Option(help="When the mirror stood still, in place of the lag: an ISO time, UTC if it has no zone."),
    ] = None,
    accounts_per_run: Annotated[
        int,
        typer.Option(
            min=1,
            help="Accounts a pipeline run, at most; four go side by side, and a crash pays for theirs twice. More on "
            "Dataflow, where each run is a job.",
        ),
    ] = 2500,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Score accounts as of now. Takes Beam's options and the pipeline's, as --name=value.

    Exit 1 if an account failed or has no outcome.
    """
    from pipeline.commands.backfill import Selection  # noqa: PLC0415
    from pipeline.commands.backfill import as_json as to_json  # noqa: PLC0415
    from pipeline.commands.backfill import backfill as backfill_accounts  # noqa: PLC0415
    from pipeline.commands.backfill_view import live_progress, render  # noqa: PLC0415 - Beam takes seconds to import
    from pipeline.reconciliation import parse_duration, parse_time  # noqa: PLC0415

    configure_logging(verbose=verbose)
    with one_line_errors(), ends_in_order(), live_progress(Console(stderr=True)) as on_progress:
        result = backfill_accounts(
            context.args,
            Selection(everything=everything, file=accounts, where=where),
            resume=resume,
            mirror_lag=parse_duration(mirror_lag),
            as_of=parse_time(as_of, "--as-of") if as_of else None,
            run_size=accounts_per_run,
            on_progress=on_progress,
        )
    if as_json:
        sys.stdout.write(to_json(result) + "\n")
    else:
        Console().print(render(result))
    raise typer.Exit(0 if result.is_ok else 1)


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
        from pipeline.commands.evaluate import as_json as to_json  # noqa: PLC0415 - an extra, and slow to import
        from pipeline.commands.evaluate import evaluate_scores, render  # noqa: PLC0415
        from pipeline.experiments import ExperimentTarget  # noqa: PLC0415
        from pipeline.reconciliation import parse_duration, parse_time  # noqa: PLC0415

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
