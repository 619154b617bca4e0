"""`rescore backfill`."""

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from pipeline.terminal.consent import Execute, agreed
from pipeline.terminal.exit_codes import command
from pipeline.terminal.parameters import DURATION, TIME, Json, Verbose, flags_of
from pipeline.terminal.results import end_with
from pipeline.terminal.times import parse_duration, parse_time

app = typer.Typer()


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="Example: `rescore backfill --where \"industry = 'Energy'\" --project=my-project`, and then with --execute",
)
def backfill(
    context: typer.Context,
    *,
    accounts: Annotated[Path | None, typer.Option(metavar="FILE", help="Account ids, one per line.")] = None,
    where: Annotated[
        str | None,
        typer.Option(metavar="FILTER", help="Accounts of the mirror whose columns match, such as industry = 'Energy'."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every account of the mirror.")] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue the last backfill; skip accounts that were scored since it started."),
    ] = False,
    mirror_lag: Annotated[
        str,
        typer.Option(
            metavar=DURATION,
            help="How far the mirror may lag behind; a change since then replaces the backfill's score.",
        ),
    ] = "15m",
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar=TIME, help="Past time of the mirror's data, instead of the lag: ISO, UTC if it has no zone."
        ),
    ] = None,
    accounts_per_run: Annotated[
        int,
        typer.Option(
            min=1,
            help="Accounts per pipeline run, at most; four runs go in parallel, and a crash scores theirs twice. Raise "
            "it on Dataflow, where each run is a job.",
        ),
    ] = 2500,
    execute: Execute = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Score accounts as of now. Takes Beam's options and the pipeline's, as --name=value.

    A plan unless --execute is given: how many accounts, and what they may cost. Exit 1 if an account failed or has no
    outcome.
    """
    planned = None
    with command(verbose=verbose, doing=None if execute else "planning the backfill"):
        from pipeline.backfill import backfill_plan, runs  # noqa: PLC0415 - imports Beam: seconds
        from pipeline.backfill.preparation import Selection  # noqa: PLC0415

        lag = parse_duration(mirror_lag, "--mirror-lag")
        time = parse_time(as_of, dt.datetime.now(dt.UTC), "--as-of") if as_of is not None else None
        selection = Selection(everything=everything, file=accounts, where=where)
        own_flags = flags_of(context)
        if not execute:
            planned = backfill_plan.plan_backfill(
                context.args, selection, resume=resume, mirror_lag=lag, as_of=time, own_flags=own_flags
            )
    if planned and not agreed(planned, backfill_plan.render, planned.question, as_json=as_json):
        return
    with command(verbose=verbose), runs.live_progress() as on_progress:
        result = runs.backfill(
            context.args,
            selection,
            resume=resume,
            mirror_lag=lag,
            as_of=time,
            run_size=accounts_per_run,
            on_progress=on_progress,
            own_flags=own_flags,
        )
    end_with(result, runs.render, as_json=as_json, is_ok=result.is_ok)
