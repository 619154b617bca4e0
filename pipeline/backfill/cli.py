"""`rescore backfill`: scores for accounts that no change came for."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.terminal.exit_codes import ends_in_order, one_line_errors
from pipeline.terminal.logs import configure_logging
from pipeline.terminal.parameters import Json, Verbose

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
    from pipeline.backfill.runs import Selection  # noqa: PLC0415
    from pipeline.backfill.runs import as_json as to_json  # noqa: PLC0415
    from pipeline.backfill.runs import backfill as backfill_accounts  # noqa: PLC0415
    from pipeline.backfill.view import live_progress, render  # noqa: PLC0415 - Beam takes seconds to import
    from pipeline.ledger.reconciliation import parse_duration, parse_time  # noqa: PLC0415

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
