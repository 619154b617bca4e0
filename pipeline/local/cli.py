"""`rescore demo` and `rescore local`."""

import datetime as dt
import shlex
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from pipeline.terminal.exit_codes import ends_in_order, one_line_errors, refuse
from pipeline.terminal.logs import configure_logging
from pipeline.terminal.parameters import Accounts, Crm, DataDir, Json, Seed, Verbose
from pipeline.terminal.program import program
from pipeline.terminal.results import end_with

app = typer.Typer()

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
    from pipeline.local.demo import run_demo  # noqa: PLC0415 - Pub/Sub's client takes half a second to import
    from pipeline.local.demo_input import events_input, extract_input, generated_input  # noqa: PLC0415
    from pipeline.local.demo_progress import shown_progress  # noqa: PLC0415
    from pipeline.local.demo_view import render_result  # noqa: PLC0415
    from pipeline.local.next_steps import next_steps, render_next_steps  # noqa: PLC0415

    configure_logging(verbose=verbose)
    if events and crm:
        refuse("--events and --crm can't be combined: the CRM extract has its own events")
    console = Console(stderr=True)
    as_of = dt.datetime.now(dt.UTC)
    with one_line_errors(), ends_in_order():
        if crm:
            demo_input = extract_input(crm)
        elif events:
            demo_input = events_input(events, accounts, seed, as_of=as_of)
        else:
            demo_input = generated_input(accounts, seed, as_of=as_of)
        with shown_progress(console) as view:
            result = run_demo(demo_input, data_dir=data_dir, view=view)
    options = {"--events": events, "--crm": crm, "--accounts": accounts, "--seed": seed}
    given = {name: value for name, value in options.items() if value != _DEFAULTS.get(name)}
    end_with(result, render_result, as_json=as_json, is_ok=not result.unexplained)
    if not as_json:
        Console().print(render_next_steps(next_steps(program(), given, data_dir)), soft_wrap=True)


@app.command(epilog="Example: `rescore local --data-dir .local --accounts 8803`")
def local(
    *,
    data_dir: DataDir = None,
    accounts: Accounts = _ACCOUNTS,
    seed: Seed = _SEED,
    crm: Crm = None,
    verbose: Verbose = False,
) -> None:
    """Start the local stack, print its environment variables as exports, and serve until Ctrl-C."""
    from pipeline.local.serve import serve_local  # noqa: PLC0415 - imports BigQuery: 1 s

    configure_logging(verbose=verbose)
    with one_line_errors(), ends_in_order():
        serve_local(
            data_dir=data_dir,
            accounts=accounts,
            seed=seed,
            crm=crm,
            on_ready=lambda exports: typer.echo("\n".join(f"export {k}={shlex.quote(v)}" for k, v in exports.items())),
        )
