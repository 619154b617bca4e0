"""`rescore dead-letters …` and `recover`: what failed, and how it comes again."""

import datetime as dt
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pipeline.terminal.exit_codes import ends_in_order, one_line_errors
from pipeline.terminal.logs import configure_logging
from pipeline.terminal.parameters import Json, Verbose

app = typer.Typer()
letters = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="See, understand and replay what failed: `list`, `show`, `replay`, `status`, `cancel`, `resume`.",
)
app.add_typer(letters, name="dead-letters")

Project = Annotated[str, typer.Option(envvar="GOOGLE_CLOUD_PROJECT", help="Google Cloud project.")]
Dataset = Annotated[str, typer.Option(help="Dataset of dead letters, replays and ledger.")]
Classes = Annotated[
    list[str] | None, typer.Option("--class", metavar="CLASS", help="Error class; may be given several times.")
]
Stages = Annotated[list[str] | None, typer.Option("--stage", help="Label of the step that gave it up.")]
AccountIds = Annotated[list[str] | None, typer.Option("--account", help="Salesforce id, of 15 or 18 characters.")]
Models = Annotated[list[str] | None, typer.Option("--model", help="The model that was asked.")]
Versions = Annotated[list[str] | None, typer.Option("--pipeline-version", help="That it failed in.")]
Since = Annotated[str | None, typer.Option(help="Failed from then on: 24h, 7d, or an ISO time, UTC without zone.")]
Until = Annotated[str | None, typer.Option(help="Failed before: as --since.")]
NotReplayed = Annotated[bool, typer.Option("--not-replayed", help="Without those that a replay has taken.")]
Materiality = Annotated[
    Path | None, typer.Option(metavar="FILE", help="YAML of which changes matter, in place of the defaults.")
]
Schemas = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Avro schemas, SCHEMA_ID.avsc, to decode field bitmaps by.")
]
Rate = Annotated[float, typer.Option(min=0.1, max=100_000, help="Letters a second, at most.")]
Quiet = Annotated[float, typer.Option(min=0.5, help="End when nothing new has come for so many seconds.")]
ReplayId = Annotated[str | None, typer.Argument(help="A replay; the last one if none is named.")]
Topic = Annotated[str, typer.Option(help="Topic that letters go back to: a name, or projects/P/topics/NAME.")]
ParkingLot = Annotated[str, typer.Option(help="Topic of letters that were given up.")]
Hold = Annotated[str, typer.Option(help="Subscription that holds dead letters.")]


@letters.command("list", epilog="Example: `rescore dead-letters list --since 24h --not-replayed`")
def list_(
    *,
    project: Project,
    dataset: Dataset = "account_scoring",
    classes: Classes = None,
    stages: Stages = None,
    accounts: AccountIds = None,
    since: Since = None,
    until: Until = None,
    models: Models = None,
    versions: Versions = None,
    not_replayed: NotReplayed = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """List dead letters by class and stage: how many, since when, an example, and what to do about them."""
    from pipeline.dead_letters.list_letters import list_letters, render  # noqa: PLC0415 - BigQuery takes a second to import
    from pipeline.dead_letters.names import Place  # noqa: PLC0415

    configure_logging(verbose=verbose)
    with one_line_errors(), ends_in_order():
        meant = _filter(classes, stages, accounts, models, versions, since, until, not_replayed=not_replayed)
        listing = list_letters(Place(project, dataset), meant)
    _print(listing, render, as_json=as_json)


@letters.command(epilog="Example: `rescore dead-letters show 4f9d2c81 --schemas schemas/`")
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="dead_letter_id, or the first digits of it.")],
    *,
    project: Project,
    dataset: Dataset = "account_scoring",
    materiality: Materiality = None,
    schemas: Schemas = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Show a letter: its payload, which is CRM data, what would become of it now, and its replays."""
    from pipeline.dead_letters.names import Place  # noqa: PLC0415
    from pipeline.dead_letters.show_letter import render, show_letter  # noqa: PLC0415 - Beam takes seconds to import

    configure_logging(verbose=verbose)
    with one_line_errors(), ends_in_order():
        letter = show_letter(Place(project, dataset), letter_id, materiality=materiality, schemas=schemas)
    _print(letter, render, as_json=as_json)


@letters.command(
    epilog="Example: `rescore dead-letters replay --class gemini_timeout --execute --reason 'latency is back'`"
)
def replay(
    *,
    project: Project,
    dataset: Dataset = "account_scoring",
    classes: Classes = None,
    stages: Stages = None,
    accounts: AccountIds = None,
    since: Since = None,
    until: Until = None,
    models: Models = None,
    versions: Versions = None,
    not_replayed: NotReplayed = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Letters to replay or park, at most.")] = None,
    rate: Rate = 50.0,
    execute: Annotated[bool, typer.Option("--execute", help="Replay; without it, say what would be done.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replay what would be parked, too.")] = False,
    reason: Annotated[str, typer.Option(help="Why, for the journal.")] = "not given",
    quiet: Quiet = 10.0,
    materiality: Materiality = None,
    schemas: Schemas = None,
    topic: Topic = "account-changes",
    parking_lot: ParkingLot = "account-changes-parking-lot",
    hold: Hold = "account-changes-dead-letter-hold",
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Publish letters of the hold subscription again, as they first came; a dry run unless --execute is given."""
    from pipeline.dead_letters import replay_session as commands  # noqa: PLC0415 - Pub/Sub takes a second to import
    from pipeline.dead_letters.names import Place  # noqa: PLC0415
    from pipeline.dead_letters.replay_request import ReplayRequest  # noqa: PLC0415

    configure_logging(verbose=verbose)
    with one_line_errors(), ends_in_order():
        place = Place(project, dataset, topic, parking_lot, hold)
        meant = _filter(classes, stages, accounts, models, versions, since, until, not_replayed=not_replayed)
        request = ReplayRequest(meant, limit, rate, force, reason)
        if not execute:
            _plan(place, request, materiality, schemas, as_json=as_json)
            return
        with _progress(limit) as on_progress:
            result = commands.replay(commands.Session(place, quiet, on_progress), request)
    _end(result, as_json=as_json)


@letters.command(epilog="Example: `rescore dead-letters resume`, or with --take-over if its process was killed")
def resume(
    replay_id: ReplayId = None,
    *,
    project: Project,
    dataset: Dataset = "account_scoring",
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Don't wait until the lease of a process that is gone runs out.")
    ] = False,
    quiet: Quiet = 10.0,
    topic: Topic = "account-changes",
    parking_lot: ParkingLot = "account-changes-parking-lot",
    hold: Hold = "account-changes-dead-letter-hold",
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Go on with a replay that was interrupted, cancelled, stopped or killed, as it was asked for."""
    from pipeline.dead_letters import replay_session as commands  # noqa: PLC0415 - Pub/Sub takes a second to import
    from pipeline.dead_letters.names import Place  # noqa: PLC0415

    configure_logging(verbose=verbose)
    with one_line_errors(), ends_in_order(), _progress(None) as on_progress:
        place = Place(project, dataset, topic, parking_lot, hold)
        result = commands.resume(commands.Session(place, quiet, on_progress), replay_id, take_over=take_over)
    _end(result, as_json=as_json)


@letters.command(epilog="Example: `rescore dead-letters status --json`")
def status(
    replay_id: ReplayId = None,
    *,
    project: Project,
    dataset: Dataset = "account_scoring",
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Say how far a replay is, and what became of its letters."""
    from pipeline.dead_letters import status as commands  # noqa: PLC0415 - BigQuery takes a second to import
    from pipeline.dead_letters.names import Place  # noqa: PLC0415

    configure_logging(verbose=verbose)
    with one_line_errors(), ends_in_order():
        found = commands.status(Place(project, dataset), replay_id)
    _print(found, commands.render, as_json=as_json)


@letters.command(epilog="Example: `rescore dead-letters cancel`")
def cancel(
    *, project: Project, dataset: Dataset = "account_scoring", as_json: Json = False, verbose: Verbose = False
) -> None:
    """Ask the replay that runs to stop; it does within seconds, after the batch that it is at."""
    from pipeline.dead_letters import status as commands  # noqa: PLC0415 - BigQuery takes a second to import
    from pipeline.dead_letters.names import Place  # noqa: PLC0415

    configure_logging(verbose=verbose)
    with one_line_errors(), ends_in_order():
        cancelled = commands.cancel(Place(project, dataset))
    _print(cancelled, commands.render_cancelled, as_json=as_json)


@app.command(epilog="Example: `rescore recover --to 2026-03-02T09:30Z`")
def recover(
    *,
    project: Project,
    to: Annotated[
        str | None, typer.Option(metavar="TIMESTAMP", help="Have come again what was published from then on.")
    ] = None,
    to_snapshot: Annotated[
        str | None, typer.Option(metavar="NAME", help="Undo a recovery: the snapshot that it took.")
    ] = None,
    subscription: Annotated[str, typer.Option(help="A name, or projects/P/subscriptions/NAME.")] = (
        "account-changes-rescoring"
    ),
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Have the subscription deliver again from a time on, after a crash of the whole job; see docs/runbooks."""
    from pipeline.dead_letters.recover import recover as recover_subscription  # noqa: PLC0415 - Pub/Sub takes a second
    from pipeline.dead_letters.recover import render  # noqa: PLC0415
    from pipeline.ledger.reconciliation import parse_since  # noqa: PLC0415
    from schemas.clock import utc_now  # noqa: PLC0415

    configure_logging(verbose=verbose)
    with one_line_errors(), ends_in_order():
        time = parse_since(to, utc_now()) if to else None
        done = recover_subscription(project=project, to=time, to_snapshot=to_snapshot, subscription=subscription)
    _print(done, render, as_json=as_json)


def _filter(  # noqa: PLR0917 - the command's parameters, in their order
    classes: list[str] | None,
    stages: list[str] | None,
    accounts: list[str] | None,
    models: list[str] | None,
    versions: list[str] | None,
    since: str | None,
    until: str | None,
    *,
    not_replayed: bool,
) -> Any:
    from pipeline.dead_letters.letter_filter import LetterFilter  # noqa: PLC0415 - BigQuery takes a second to import
    from pipeline.ledger.reconciliation import parse_since  # noqa: PLC0415

    now = dt.datetime.now(dt.UTC)
    return LetterFilter(
        error_classes=tuple(classes or ()),
        stages=tuple(stages or ()),
        accounts=tuple(accounts or ()),
        models=tuple(models or ()),
        pipeline_versions=tuple(versions or ()),
        since=parse_since(since, now) if since else None,
        until=_until(until, now) if until else None,
        is_not_replayed=not_replayed,
    )


def _until(text: str, now: dt.datetime) -> dt.datetime:
    from pipeline.ledger.reconciliation import parse_since  # noqa: PLC0415 - BigQuery takes a second to import

    try:
        return parse_since(text, now)
    except ValueError as error:
        raise ValueError(str(error).replace("--since", "--until")) from None


def _plan(place: Any, request: Any, materiality: Path | None, schemas: Path | None, *, as_json: bool) -> None:
    from pipeline.dead_letters.plan_command import plan, render  # noqa: PLC0415 - Beam takes seconds to import

    _print(plan(place, request, materiality=materiality, schemas=schemas), render, as_json=as_json)


def _progress(max_letters: int | None) -> Any:
    from pipeline.dead_letters.replay_view import replay_progress  # noqa: PLC0415 - as the command's own modules

    return replay_progress(Console(stderr=True), max_letters)


def _end(result: Any, *, as_json: bool) -> None:
    """Print how a replay ended; exit 0 if it came to its end, 1 if it did not."""
    from pipeline.dead_letters.replay_view import render  # noqa: PLC0415 - as the command's own modules

    _print(result, render, as_json=as_json)
    raise typer.Exit(0 if result.is_ok else 1)


def _print(result: Any, render: Any, *, as_json: bool) -> None:
    import json  # noqa: PLC0415

    if as_json:
        sys.stdout.write(json.dumps(result.document(), indent=2, default=str) + "\n")
    else:
        Console().print(render(result))
