"""`rescore demo` and `rescore local`."""

import datetime as dt
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from pipeline.local.shell_exports import dot_name, export_lines, what_is_found
from pipeline.terminal.command_group import CommandGroup
from pipeline.terminal.exit_codes import command
from pipeline.terminal.parameters import DURATION, Accounts, Crm, DataDir, Json, Seed, Verbose
from pipeline.terminal.program import program
from pipeline.terminal.results import end_with, output
from pipeline.terminal.signals import cleanup_first
from pipeline.terminal.times import moment

if TYPE_CHECKING:
    from pipeline.local.serve import Ready

app = typer.Typer()
local_app = typer.Typer(cls=CommandGroup, rich_markup_mode="markdown")
app.add_typer(local_app, name="local")

_ACCOUNTS: Final = 200
_SEED: Final = 1
_DEFAULTS: Final = {"--accounts": _ACCOUNTS, "--seed": _SEED}


@app.command(epilog="Example: `rescore demo --accounts 200` or `rescore demo --events events/ --json`")
def demo(
    *,
    events: Annotated[
        Path | None, typer.Option(help="Change events to publish: JSON, JSON lines, or a folder of them.")
    ] = None,
    crm: Crm = None,
    accounts: Accounts = _ACCOUNTS,
    seed: Seed = _SEED,
    data_dir: DataDir = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Run sample events through the whole pipeline on a local stack, and report the outcomes."""
    with command(verbose=verbose):
        if events and crm:
            raise ValueError("--events and --crm can't be combined: the CRM extract has its own events")
        from pipeline.local.demo import run_demo  # noqa: PLC0415 - Pub/Sub's client takes half a second to import
        from pipeline.local.demo_input import events_input, extract_input, generated_input  # noqa: PLC0415
        from pipeline.local.demo_progress import shown_progress  # noqa: PLC0415
        from pipeline.local.demo_view import render_result  # noqa: PLC0415
        from pipeline.local.next_steps import next_steps, render_next_steps  # noqa: PLC0415

        console = Console(stderr=True)
        as_of = dt.datetime.now(dt.UTC)
        _say(what_is_found(os.environ))
        if crm:
            demo_input = extract_input(crm)
        elif events:
            demo_input = events_input(events, accounts, seed, as_of=as_of)
        else:
            demo_input = generated_input(accounts, seed, as_of=as_of)
        with cleanup_first(), shown_progress(console) as view:
            result = run_demo(demo_input, data_dir=data_dir, view=view)
    options = {"--events": events, "--crm": crm, "--accounts": accounts, "--seed": seed}
    given = {name: value for name, value in options.items() if value != _DEFAULTS.get(name)}
    end_with(result, render_result, as_json=as_json, is_ok=not result.unexplained)
    if not as_json:
        with output():
            Console().print(render_next_steps(next_steps(program(), given, data_dir)), soft_wrap=True)


@local_app.callback(
    invoke_without_command=True,
    epilog="Example: `rescore local --data-dir .local --write-env stack.env`, then elsewhere `. ./stack.env`",
)
def local(
    context: typer.Context,
    *,
    data_dir: DataDir = None,
    accounts: Accounts = _ACCOUNTS,
    seed: Seed = _SEED,
    crm: Crm = None,
    events: Annotated[
        Path | None, typer.Option(help="Change events, whose accounts are added to the mirror: publish them later.")
    ] = None,
    write_env: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the exports to this file, while the stack runs, and not to the terminal."
        ),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Start the local stack, print its environment variables as exports, and serve until Ctrl-C.

    The commands below are for another shell, which has the exports.
    """
    if context.invoked_subcommand:
        return
    with command(verbose=verbose):
        from pipeline.local.serve import LocalSettings, serve_local  # noqa: PLC0415 - imports BigQuery: 1 s

        settings = LocalSettings(
            data_dir=data_dir, accounts=accounts, seed=seed, crm=crm, events=events, env_file=write_env
        )
        _say(what_is_found(os.environ))
        with cleanup_first():
            serve_local(
                settings, on_ready=lambda ready: _tell(ready, write_env, has_events=events is not None), say=_say
            )


def _services() -> list[str]:
    from pipeline.local.failing.failures import Service  # noqa: PLC0415 - completion only

    return [*Service]


def _failures(context: typer.Context) -> list[tuple[str, str]]:
    from pipeline.local.failing.failures import FAILURES  # noqa: PLC0415 - completion only

    return [(it.name, it.effect) for it in FAILURES if it.service == context.params.get("service")]


@local_app.command(
    epilog="Example: `rescore local fail gemini 503 --for 60s`, `rescore local fail gemini garbage --only Acme`"
)
def fail(
    service: Annotated[
        str | None, typer.Argument(metavar="SERVICE", autocompletion=_services, help="gemini or bigquery.")
    ] = None,
    failure: Annotated[
        str | None,
        typer.Argument(metavar="FAILURE", autocompletion=_failures, help="One of the service's, see --list."),
    ] = None,
    *,
    seconds: Annotated[str, typer.Option("--for", metavar=DURATION, help="How long, such as 30s or 5m.")] = "60s",
    only: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Only calls to Gemini whose prompt has this text, such as a name."),
    ] = None,
    list_failures: Annotated[bool, typer.Option("--list", help="List the failures.")] = False,
    verbose: Verbose = False,
) -> None:
    """Have a service of the running local stack fail on purpose, for a time; then it works again."""
    from pipeline.local.failing.control_client import ask_to_fail  # noqa: PLC0415
    from pipeline.local.failing.failures import failure_lines, parse_seconds  # noqa: PLC0415 - imports pydantic: 0.1 s

    with command(verbose=verbose):
        if list_failures:
            with output():
                typer.echo(failure_lines())
            return
        duration = parse_seconds(seconds)
        if not service or not failure:
            raise ValueError("name a service and a failure, such as gemini 503: rescore local fail --list has them all")
        told = ask_to_fail(os.environ, service, failure, seconds=duration, only=only)
    until = moment(dt.datetime.fromisoformat(told["until"]))
    _say(f"{service} {told['effect']}, until {until} UTC; rescore local heal ends it now")


@local_app.command(epilog="Example: `rescore local heal`")
def heal(*, verbose: Verbose = False) -> None:
    """End the failures of the running local stack: every service works again."""
    from pipeline.local.failing.control_client import ask_to_heal  # noqa: PLC0415 - for a fast --help

    with command(verbose=verbose):
        ended = ask_to_heal(os.environ)
    _say(f"ended: {', '.join(ended)}" if ended else "nothing failed on purpose")


@local_app.command(
    epilog="Example: `rescore local changes --count 50 > events.jsonl`, then `rescore publish events.jsonl`"
)
def changes(
    *,
    count: Annotated[int, typer.Option(min=1, max=100_000, help="Number of events.")] = 20,
    seed: Annotated[
        int | None, typer.Option(help="The same seed draws the same changes; default: others each time.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Print change events that are made now, about accounts of the running local stack, as JSON lines."""
    with command(verbose=verbose):
        from pipeline.local.mirror import made_changes  # noqa: PLC0415 - imports BigQuery: 1 s

        made = made_changes(os.environ, count=count, seed=seed)
        with output():
            for event in made:
                typer.echo(event)


def _tell(ready: "Ready", env_file: Path | None, *, has_events: bool) -> None:
    """Print the exports, or where they are, and what to do with them."""
    from pipeline.local.crm.named_accounts import told_additions  # noqa: PLC0415 - imports the models of the CRM

    if has_events:
        _say(told_additions(ready.accounts_added, "the events"))
    if env_file:
        _say(f"the local stack runs: in another shell, . {dot_name(env_file)} points to it; Ctrl-C here ends it")
        return
    with output():
        typer.echo(export_lines(ready.exports), nl=False)
    _say("the local stack runs: paste these lines into another shell; Ctrl-C here ends it")


def _say(message: str | None) -> None:
    if message:
        typer.echo(f"rescore: {message}", err=True)
