"""`rescore run`: run the pipeline on the runner that the options name."""

import gc
from collections.abc import Callable
from typing import Annotated

import typer

from pipeline.terminal.exit_codes import command
from pipeline.terminal.parameters import Verbose, flags_of
from pipeline.terminal.results import output
from pipeline.terminal.signals import cleanup_first

app = typer.Typer()


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="Example: `rescore run --project my-project --runner DataflowRunner --region europe-west1`",
)
def run(
    context: typer.Context,
    *,
    list_options: Annotated[bool, typer.Option("--list-options", help="Print this pipeline's options.")] = False,
    no_check: Annotated[
        bool,
        typer.Option(
            "--no-check",
            help="Start although BigQuery or Gemini does not answer: what needs them is held until they do.",
        ),
    ] = False,
    within_demo: Annotated[bool, typer.Option("--within-demo", hidden=True)] = False,
    verbose: Verbose = False,
) -> None:
    """Run the pipeline. Takes the options of Beam and of this pipeline, as --name=value.

    Options that are not given come from the environment (RESCORE_NAME for each option, GOOGLE_CLOUD_PROJECT for the
    project), and then from the YAML file of --config FILE. --project ID is required. --list-options lists the others.
    """
    with command(verbose=verbose):
        if list_options:
            from pipeline.config.options_help import options_help  # noqa: PLC0415 - builds the options' models: 0.2 s

            with output():
                typer.echo(options_help())
            return
        run_pipeline = _import_pipeline()
        # A Dataflow job continues without this process; what runs in this process gives messages back.
        with cleanup_first():
            # The demo's services start beside its pipeline, and it says by itself what it does.
            ended_well = run_pipeline(
                context.args, flags_of(context), is_checked=not (no_check or within_demo), is_told=not within_demo
            )
    raise typer.Exit(0 if ended_well else 1)


def _import_pipeline() -> Callable[..., bool]:
    """Import the pipeline without garbage collections; they take 0.2 s, and find nothing in modules, which stay."""
    gc.disable()
    from pipeline.run import run as run_pipeline  # noqa: PLC0415 - Beam takes seconds to import

    gc.freeze()
    gc.enable()
    return run_pipeline
