"""`rescore explain` and `rescore reconcile`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.terminal.exit_codes import command
from pipeline.terminal.parameters import A_TIME, DURATION, TIME, Json, Materiality, Project, Schemas, Verbose
from pipeline.terminal.results import end_with

app = typer.Typer()


@app.command(epilog="Example: `rescore explain events/ more.jsonl --materiality materiality.yaml --json`")
def explain(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Change events: files or folders, as for `publish`.")
    ],
    *,
    materiality: Materiality = None,
    schemas: Schemas = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Say what the pipeline would decide about each event by itself, and why; nothing is sent anywhere."""
    with command(verbose=verbose, doing="explaining"):
        from pipeline.ledger.explain import explain as explain_events  # noqa: PLC0415 - imports the rules: 0.1 s
        from pipeline.ledger.explain import render  # noqa: PLC0415

        explained = explain_events(paths, materiality=materiality, schemas=schemas)
    end_with(explained, render, as_json=as_json)


@app.command(epilog="Example: `rescore reconcile --since 7d --project my-project`")
def reconcile(
    *,
    project: Project,
    dataset: Annotated[str, typer.Option(help="BigQuery dataset of the ledger.")] = "account_scoring",
    since: Annotated[str, typer.Option(metavar=TIME, help=f"Start of the period: {A_TIME}.")] = "24h",
    grace: Annotated[
        str,
        typer.Option(
            metavar=DURATION,
            help="How long after it was received an event may lack an outcome; 0s if the job is gone.",
        ),
    ] = "15m",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Events that a listing has, at most.")] = 20,
    write_accounts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the accounts of events without an outcome, for `rescore backfill --accounts`."
        ),
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Check that every event has exactly one outcome; exit 1 if one has two, or none after the grace period.

    Exit 0 with pending events is no all-clear: the report says how many there are and since when.
    """
    with command(verbose=verbose, doing="reading the ledger"):
        from pipeline.ledger.reconcile import reconcile as reconcile_ledger  # noqa: PLC0415 - imports BigQuery: 1 s
        from pipeline.ledger.reconcile import render  # noqa: PLC0415

        result = reconcile_ledger(
            project=project, dataset=dataset, since=since, grace=grace, limit=limit, accounts_file=write_accounts
        )
    end_with(result, render, as_json=as_json, is_ok=result.is_ok)
