"""`rescore explain` and `reconcile`: what would become of events, and what became of them."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.terminal.exit_codes import ends_in_order, one_line_errors
from pipeline.terminal.logs import configure_logging
from pipeline.terminal.parameters import Json, Verbose

app = typer.Typer()


@app.command(epilog="Example: `rescore explain events/ more.jsonl --materiality materiality.yaml --json`")
def explain(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Change events: files or folders, as `publish`.")
    ],
    *,
    materiality: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML of which changes matter, in place of the defaults.")
    ] = None,
    schemas: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Avro schemas, SCHEMA_ID.avsc, to decode field bitmaps by.")
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Say what the pipeline would decide about each event by itself, and why; nothing is sent anywhere."""
    from pipeline.ledger.explain import as_json as to_json  # noqa: PLC0415 - Beam takes seconds to import
    from pipeline.ledger.explain import explain as explain_events  # noqa: PLC0415
    from pipeline.ledger.explain import render  # noqa: PLC0415

    configure_logging(verbose=verbose)
    with one_line_errors(), ends_in_order():
        explained = explain_events(paths, materiality=materiality, schemas=schemas)
    if as_json:
        sys.stdout.write(to_json(explained) + "\n")
    else:
        Console().print(render(explained))


@app.command(epilog="Example: `rescore reconcile --since 7d --project my-project`")
def reconcile(
    *,
    project: Annotated[str, typer.Option(envvar="GOOGLE_CLOUD_PROJECT", help="Google Cloud project of the ledger.")],
    dataset: Annotated[str, typer.Option(help="Dataset of the ledger.")] = "account_scoring",
    since: Annotated[
        str, typer.Option(help="From when on: 24h, 7d, or an ISO date or time, UTC if it has no zone.")
    ] = "24h",
    grace: Annotated[str, typer.Option(help="How long after its receipt an event may lack its outcome.")] = "15m",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Events that a listing has at most.")] = 20,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Check that every event received has one outcome; exit 1 if one has none after the grace period, or two."""
    from pipeline.ledger.reconcile import as_json as to_json  # noqa: PLC0415 - BigQuery takes a second to import
    from pipeline.ledger.reconcile import reconcile as reconcile_ledger  # noqa: PLC0415
    from pipeline.ledger.reconcile import render  # noqa: PLC0415

    configure_logging(verbose=verbose)
    with one_line_errors(), ends_in_order():
        result = reconcile_ledger(project=project, dataset=dataset, since=since, grace=grace, limit=limit)
    if as_json:
        sys.stdout.write(to_json(result) + "\n")
    else:
        Console().print(render(result))
    raise typer.Exit(0 if result.is_ok else 1)
