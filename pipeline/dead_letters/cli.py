"""`rescore dead-letters …` and `rescore recover`."""

import datetime as dt
from dataclasses import replace
from typing import Annotated, Any

import typer

from pipeline.terminal.command_group import CommandGroup
from pipeline.terminal.consent import Execute, agreed
from pipeline.terminal.exit_codes import command
from pipeline.terminal.parameters import A_TIME, TIME, Json, Materiality, Project, Schemas, Verbose
from pipeline.terminal.results import OutputFailed, end_with
from pipeline.terminal.times import parse_since, parse_until
from schemas.failures import ErrorClass

app = typer.Typer()
dead_letters = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="List, show and replay dead letters; list, watch, cancel and resume replays.",
)
app.add_typer(dead_letters, name="dead-letters")

Dataset = Annotated[str, typer.Option(help="BigQuery dataset of dead letters, replays and ledger.")]
Classes = Annotated[
    list[ErrorClass] | None, typer.Option("--class", metavar="CLASS", help="Error class; may be given several times.")
]
Stages = Annotated[list[str] | None, typer.Option("--stage", help="Label of the step that failed.")]
AccountIds = Annotated[list[str] | None, typer.Option("--account", help="Salesforce account id, 15 or 18 characters.")]
Models = Annotated[list[str] | None, typer.Option("--model", help="Gemini model that was called.")]
Versions = Annotated[list[str] | None, typer.Option("--pipeline-version", help="Pipeline version that failed.")]
Since = Annotated[str | None, typer.Option(metavar=TIME, help=f"Failed at or after: {A_TIME}.")]
Until = Annotated[str | None, typer.Option(metavar=TIME, help="Failed before: as --since.")]
NotReplayed = Annotated[bool, typer.Option("--not-replayed", help="Leave out those that were replayed or parked.")]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="Rows of the list, at most: the newest.")]
Rate = Annotated[float, typer.Option(min=0.1, max=100_000, help="Dead letters a second, at most.")]
Quiet = Annotated[float, typer.Option(min=0.5, help="End when no new dead letter has come for so many seconds.")]
ReplayId = Annotated[str | None, typer.Argument(help="A replay; default: the last one.")]
Topic = Annotated[str, typer.Option(help="Topic to replay to: a name, or projects/P/topics/NAME.")]
ParkingLot = Annotated[str, typer.Option(help="Topic of dead letters that were replayed too often.")]
CrmDataset = Annotated[str, typer.Option(help="BigQuery dataset of the CRM mirror.")]
Hold = Annotated[str, typer.Option(help="Subscription of the dead-letter topic.")]


@dead_letters.command("list", epilog="Example: `rescore dead-letters list --since 24h`, or with --each")
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
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that were replayed and scored, or ended otherwise.")
    ] = False,
    each: Annotated[bool, typer.Option("--each", help="List each dead letter, and what became of it.")] = False,
    limit: Limit = 100,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """List dead letters by class and stage: how many, since when, an example, and what to do.

    Leaves out those that were replayed and scored.
    """
    with command(verbose=verbose, doing="reading the dead letters"):
        from pipeline.dead_letters.list_dead_letters import (  # noqa: PLC0415 - imports BigQuery: 1 s
            known_filter,
            list_dead_letters,
            render,
        )
        from pipeline.dead_letters.replay_resources import ReplayResources  # noqa: PLC0415

        chosen = _filter(classes, stages, accounts, models, versions, since, until, not_replayed=not_replayed)
        resources = ReplayResources(project, dataset)
        known = known_filter(resources, chosen)
        listing = list_dead_letters(resources, known, with_ended=everything, each=limit if each else None)
    end_with(listing, render, as_json=as_json)


@dead_letters.command(epilog="Example: `rescore dead-letters replays --since 7d`")
def replays(
    *,
    project: Project,
    dataset: Dataset = "account_scoring",
    since: Annotated[str, typer.Option(metavar=TIME, help=f"Replays since then: {A_TIME}.")] = "90d",
    limit: Limit = 20,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """List past replays: who asked for them, when, why, and how many dead letters they replayed and parked."""
    with command(verbose=verbose, doing="reading the journal"):
        from pipeline.dead_letters.list_replays import list_replays, render  # noqa: PLC0415 - imports BigQuery: 1 s
        from pipeline.dead_letters.replay_resources import ReplayResources  # noqa: PLC0415

        start = parse_since(since, dt.datetime.now(dt.UTC), "--since")
        listing = list_replays(ReplayResources(project, dataset), start, limit)
    end_with(listing, render, as_json=as_json)


@dead_letters.command(epilog="Example: `rescore dead-letters show 4f9d2c81 --schemas schemas/`")
def show(
    dead_letter_id: Annotated[str, typer.Argument(metavar="ID", help="dead_letter_id, or its first 6 or more digits.")],
    *,
    project: Project,
    dataset: Dataset = "account_scoring",
    crm_dataset: CrmDataset = "crm",
    materiality: Materiality = None,
    schemas: Schemas = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Show a dead letter: its payload (CRM data), what the pipeline would decide now, its replays and outcomes."""
    with command(verbose=verbose, doing="reading the dead letter"):
        from pipeline.dead_letters.replay_resources import ReplayResources  # noqa: PLC0415
        from pipeline.dead_letters.show_dead_letter import (  # noqa: PLC0415 - imports BigQuery: 1 s
            render,
            show_dead_letter,
        )
        from pipeline.resources.rule_files import RuleFiles  # noqa: PLC0415

        resources = ReplayResources(project, dataset, crm_dataset=crm_dataset)
        shown = show_dead_letter(resources, dead_letter_id, RuleFiles(materiality, schemas))
    end_with(shown, render, as_json=as_json)


@dead_letters.command(
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
    limit: Annotated[int | None, typer.Option(min=1, help="Dead letters to replay or park, at most.")] = None,
    rate: Rate = 50.0,
    execute: Execute = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also replay what would be parked, or waits for its account in the mirror.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why, for the journal; required with --execute.")] = "",
    quiet: Quiet = 10.0,
    materiality: Materiality = None,
    schemas: Schemas = None,
    topic: Topic = "account-changes",
    parking_lot: ParkingLot = "account-changes-parking-lot",
    hold: Hold = "account-changes-dead-letter-hold",
    crm_dataset: CrmDataset = "crm",
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Publish dead letters again with their original payload and attributes; a plan unless --execute is given."""
    planned = None
    with command(verbose=verbose, doing=None if execute else "planning the replay"):
        from pipeline.dead_letters import replay_plan, replay_session  # noqa: PLC0415 - imports BigQuery: 1 s
        from pipeline.dead_letters.dead_letter_filter import ReplayRequest  # noqa: PLC0415
        from pipeline.dead_letters.list_dead_letters import known_filter  # noqa: PLC0415
        from pipeline.dead_letters.replay_resources import ReplayResources  # noqa: PLC0415
        from pipeline.resources.rule_files import RuleFiles  # noqa: PLC0415

        if execute and not reason.strip():
            raise ValueError("--reason is missing: say why, for the journal, such as --reason 'latency is back'")
        resources = ReplayResources(project, dataset, topic, parking_lot, hold, crm_dataset)
        chosen = _filter(classes, stages, accounts, models, versions, since, until, not_replayed=not_replayed)
        request = ReplayRequest(known_filter(resources, chosen), limit, rate, force, reason)
        if not execute:
            planned = replay_plan.plan(resources, request, RuleFiles(materiality, schemas))
    if planned:
        if not agreed(planned, replay_plan.render, planned.question, as_json=as_json):
            return
        request = replace(request, reason=reason.strip() or typer.prompt("Why? The journal keeps it"))
    with command(verbose=verbose), replay_session.replay_progress(limit) as on_progress:
        result = replay_session.replay(replay_session.Session(resources, quiet, on_progress), request)
    end_with(result, replay_session.render, as_json=as_json, is_ok=result.is_ok)


@dead_letters.command(epilog="Example: `rescore dead-letters resume`, or with --take-over if its process was killed")
def resume(
    replay_id: ReplayId = None,
    *,
    project: Project,
    dataset: Dataset = "account_scoring",
    take_over: Annotated[bool, typer.Option("--take-over", help="Don't wait for a killed process's lease.")] = False,
    quiet: Quiet = 10.0,
    topic: Topic = "account-changes",
    parking_lot: ParkingLot = "account-changes-parking-lot",
    hold: Hold = "account-changes-dead-letter-hold",
    crm_dataset: CrmDataset = "crm",
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Continue a replay that was interrupted, cancelled, stopped or killed, with its own filter and limits."""
    with command(verbose=verbose):
        from pipeline.dead_letters import replay_session  # noqa: PLC0415 - imports Pub/Sub: 1 s
        from pipeline.dead_letters.replay_resources import ReplayResources  # noqa: PLC0415

        with replay_session.replay_progress(None) as on_progress:
            resources = ReplayResources(project, dataset, topic, parking_lot, hold, crm_dataset)
            session = replay_session.Session(resources, quiet, on_progress)
            result = replay_session.resume(session, replay_id, take_over=take_over)
    end_with(result, replay_session.render, as_json=as_json, is_ok=result.is_ok)


@dead_letters.command(epilog="Example: `rescore dead-letters status --json`")
def status(
    replay_id: ReplayId = None,
    *,
    project: Project,
    dataset: Dataset = "account_scoring",
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Say how far a replay is, and how many of its dead letters have which outcome."""
    with command(verbose=verbose, doing="reading the journal"):
        from pipeline.dead_letters import status as replay_status  # noqa: PLC0415 - imports BigQuery: 1 s
        from pipeline.dead_letters.replay_resources import ReplayResources  # noqa: PLC0415

        found = replay_status.status(ReplayResources(project, dataset), replay_id)
    end_with(found, replay_status.render, as_json=as_json)


@dead_letters.command(epilog="Example: `rescore dead-letters cancel`")
def cancel(
    *, project: Project, dataset: Dataset = "account_scoring", as_json: Json = False, verbose: Verbose = False
) -> None:
    """Ask the running replay to stop; it stops within seconds, after its current batch."""
    with command(verbose=verbose, doing="asking the replay to stop"):
        from pipeline.dead_letters import status as replay_status  # noqa: PLC0415 - imports BigQuery: 1 s
        from pipeline.dead_letters.replay_resources import ReplayResources  # noqa: PLC0415

        cancelled = replay_status.cancel(ReplayResources(project, dataset))
    end_with(cancelled, replay_status.render_cancelled, as_json=as_json)


@app.command(epilog="Example: `rescore recover --to 2026-03-02T09:30Z`, and then the same with --execute")
def recover(
    *,
    project: Project,
    dataset: Annotated[str, typer.Option(help="BigQuery dataset of the ledger, for the plan.")] = "account_scoring",
    to: Annotated[
        str | None,
        typer.Option(metavar=TIME, help=f"Deliver again what was published from then on: {A_TIME}."),
    ] = None,
    to_snapshot: Annotated[
        str | None, typer.Option(metavar="NAME", help="Undo a recovery: the snapshot that it took.")
    ] = None,
    drop_unread: Annotated[
        bool, typer.Option("--drop-unread", help="Seek although messages from before --to are unread, and drop them.")
    ] = False,
    subscription: Annotated[str, typer.Option(help="A name, or projects/P/subscriptions/NAME.")] = (
        "account-changes-rescoring"
    ),
    execute: Execute = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Have the subscription deliver again from a time on, after a crash of the whole job; see docs/runbooks.

    A plan unless --execute is given: how much would be delivered again, and what that may cost.
    """
    with command(verbose=verbose, doing="planning the recovery"):
        from pipeline.dead_letters import recover as recovery  # noqa: PLC0415 - imports Pub/Sub: 1 s
        from pipeline.dead_letters import recovery_plan  # noqa: PLC0415 - imports BigQuery: 1 s

        time = parse_since(to, dt.datetime.now(dt.UTC), "--to") if to is not None else None
        planned = recovery_plan.plan_recovery(
            project=project, dataset=dataset, to=time, to_snapshot=to_snapshot, subscription=subscription
        )
    if not execute and not agreed(planned, recovery_plan.render, planned.question, as_json=as_json):
        return
    with command(verbose=verbose, doing="seeking the subscription"):
        done = recovery.recover(
            project=project, to=time, to_snapshot=to_snapshot, subscription=subscription, drop_unread=drop_unread
        )
        executed = recovery_plan.ExecutedRecovery(planned, done)
    try:
        end_with(executed, recovery_plan.render_executed, as_json=as_json)
    except OutputFailed:  # the name of the snapshot would be lost with it
        typer.echo(f"rescore: the subscription was sought; to undo it: {done.undo}", err=True)
        raise


def _filter(  # noqa: PLR0917 - the command's parameters, in their order
    classes: list[ErrorClass] | None,
    stages: list[str] | None,
    accounts: list[str] | None,
    models: list[str] | None,
    versions: list[str] | None,
    since: str | None,
    until: str | None,
    *,
    not_replayed: bool,
) -> Any:
    from pipeline.dead_letters.dead_letter_filter import DeadLetterFilter  # noqa: PLC0415 - imports BigQuery: 1 s

    now = dt.datetime.now(dt.UTC)
    return DeadLetterFilter(
        error_classes=tuple(classes or ()),
        stages=tuple(stages or ()),
        accounts=tuple(accounts or ()),
        models=tuple(models or ()),
        pipeline_versions=tuple(versions or ()),
        since=parse_since(since, now, "--since") if since is not None else None,
        until=parse_until(until, now, "--until") if until is not None else None,
        is_not_replayed=not_replayed,
    )
