"""The command `rescore`. Exit 0: done; 1: done, and something is wrong; 2: bad usage or configuration, in one line."""

import datetime as dt
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from pipeline.logs import configure_logging

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Rescores Salesforce accounts as they change: Pub/Sub → Gemini → BigQuery.",
)

DataDir = Annotated[Path | None, typer.Option(help="Keep the warehouse and credentials in this folder.")]
Accounts = Annotated[
    int, typer.Option(min=1, max=100_000, help="Accounts of the generated CRM; 8803 is the full size.")
]
Seed = Annotated[int, typer.Option(help="Of everything generated: the same seed, the same CRM and events.")]
Crm = Annotated[Path | None, typer.Option(help="A CRM extract (folder of CSV files) in place of the generated CRM.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log more than warnings.")]


@app.command(epilog="Example: `rescore demo --accounts 200` or `rescore demo --events events/ --json`")
def demo(
    *,
    events: Annotated[
        Path | None, typer.Option(help="Change events to publish: JSON, JSON lines, or a folder of them.")
    ] = None,
    crm: Crm = None,
    accounts: Accounts = 200,
    seed: Seed = 1,
    data_dir: DataDir = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Run sample events through the whole pipeline on a local stack, and report what became of them."""
    from pipeline.commands.demo import as_json as to_json  # noqa: PLC0415 - Beam takes seconds to import
    from pipeline.commands.demo import events_input, extract_input, generated_input, run_demo  # noqa: PLC0415
    from pipeline.commands.demo_view import live_progress, render_result  # noqa: PLC0415

    configure_logging(verbose=verbose)
    if events and crm:
        _refuse("--events and --crm exclude each other: the CRM extract brings its own events")
    console = Console(stderr=True)
    as_of = dt.datetime.now(dt.UTC)
    with _one_line_errors(), _ends_in_order():
        if crm:
            demo_input = extract_input(crm)
        elif events:
            demo_input = events_input(events, accounts, seed, as_of=as_of)
        else:
            demo_input = generated_input(accounts, seed, as_of=as_of)
        with live_progress(console) as on_progress:
            result = run_demo(demo_input, data_dir=data_dir, on_progress=on_progress)
    if as_json:
        sys.stdout.write(to_json(result) + "\n")
    else:
        Console().print(render_result(result))
    raise typer.Exit(1 if result.unexplained else 0)


@app.command(epilog="Example: `rescore local --data-dir .local --accounts 8803`")
def local(
    *,
    data_dir: DataDir = None,
    accounts: Accounts = 200,
    seed: Seed = 1,
    crm: Crm = None,
    verbose: Verbose = False,
) -> None:
    """Start the local stack, print the exports that point to it, and keep it up until Ctrl-C."""
    from pipeline.commands.local import serve_local  # noqa: PLC0415 - Beam takes seconds to import

    configure_logging(verbose=verbose)
    with _one_line_errors(), _ends_in_order():
        serve_local(
            data_dir=data_dir,
            accounts=accounts,
            seed=seed,
            crm=crm,
            on_ready=lambda exports: typer.echo("\n".join(f"export {k}={shlex.quote(v)}" for k, v in exports.items())),
        )


@app.command(epilog="Example: `rescore publish events/ --project my-project`")
def publish(
    path: Annotated[Path, typer.Argument(help="Change events: JSON, JSON lines, or a folder of them.")],
    *,
    project: Annotated[str, typer.Option(envvar="GOOGLE_CLOUD_PROJECT", help="Google Cloud project of the topic.")],
    topic: Annotated[str, typer.Option(help="Topic: a name, or projects/P/topics/NAME.")] = "account-changes",
    verbose: Verbose = False,
) -> None:
    """Publish change events from files, byte for byte, an event a message."""
    from pipeline.commands.publish import publish as publish_path  # noqa: PLC0415 - grpc takes a second to import

    configure_logging(verbose=verbose)
    with _one_line_errors(), _ends_in_order():
        count = publish_path(path, project=project, topic=topic)
    typer.echo(f"published {count} events to {topic}", err=True)


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
    from pipeline.commands.explain import as_json as to_json  # noqa: PLC0415 - Beam takes seconds to import
    from pipeline.commands.explain import explain as explain_events  # noqa: PLC0415
    from pipeline.commands.explain import render  # noqa: PLC0415

    configure_logging(verbose=verbose)
    with _one_line_errors(), _ends_in_order():
        explained = explain_events(paths, materiality=materiality, schemas=schemas)
    if as_json:
        sys.stdout.write(to_json(explained) + "\n")
    else:
        Console().print(render(explained))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="Example: `rescore run --project my-project --runner DataflowRunner --region europe-west1`",
)
def run(
    context: typer.Context,
    *,
    list_options: Annotated[bool, typer.Option("--list-options", help="Print this pipeline's options.")] = False,
    verbose: Verbose = False,
) -> None:
    """Run the pipeline. Takes Beam's options and this pipeline's, as --name=value."""
    from pipeline.commands.run import run as run_pipeline  # noqa: PLC0415 - Beam takes seconds to import
    from pipeline.options import options_help  # noqa: PLC0415 - Beam takes seconds to import

    configure_logging(verbose=verbose)
    if list_options:
        typer.echo(options_help())
        return
    with _one_line_errors():
        run_pipeline(context.args)


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
    from pipeline.commands.reconcile import as_json as to_json  # noqa: PLC0415 - BigQuery takes a second to import
    from pipeline.commands.reconcile import reconcile as reconcile_ledger  # noqa: PLC0415
    from pipeline.commands.reconcile import render  # noqa: PLC0415

    configure_logging(verbose=verbose)
    with _one_line_errors(), _ends_in_order():
        result = reconcile_ledger(project=project, dataset=dataset, since=since, grace=grace, limit=limit)
    if as_json:
        sys.stdout.write(to_json(result) + "\n")
    else:
        Console().print(render(result))
    raise typer.Exit(0 if result.is_ok else 1)


def main() -> None:
    """Run the command line."""
    app(prog_name="rescore")


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turn what the user can mend into one line and exit code 2."""
    from google.api_core.exceptions import GoogleAPICallError  # noqa: PLC0415 - takes a second to import
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415

    from transforms.errors import RescoringError  # noqa: PLC0415

    try:
        yield
    except (ValueError, OSError, RescoringError, RuntimeError, GoogleAPICallError, GoogleAuthError) as error:
        _refuse(str(error))


@contextmanager
def _ends_in_order() -> Iterator[None]:
    """End at Ctrl-C and SIGTERM alike: what was started is stopped, and no traceback is shown."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _refuse(message: str) -> NoReturn:
    typer.echo(f"rescore: {message}", err=True)
    raise typer.Exit(2)
