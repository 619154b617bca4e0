"""`rescore doctor`."""

from typing import Annotated, Literal

import typer

from pipeline.terminal.exit_codes import command
from pipeline.terminal.parameters import Json, Verbose, flags_of
from pipeline.terminal.results import end_with

app = typer.Typer()


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="Example: `rescore doctor --config rescoring.yaml --json`, or `rescore doctor --project my-project`; as the "
    "worker: `rescore doctor --project my-project --for pipeline`, after `gcloud auth application-default login "
    "--impersonate-service-account=rescoring-worker@my-project.iam.gserviceaccount.com`",
)
def doctor(
    context: typer.Context,
    *,
    persona: Annotated[
        Literal["pipeline", "replay", "both"],
        typer.Option("--for", help="Whose permissions the credentials should have."),
    ] = "both",
    only_tables: Annotated[
        bool,
        typer.Option(
            "--only-tables",
            help="Check the datasets, tables and views only, as before a job of this release starts.",
        ),
    ] = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Check a deployment: credentials, topics, tables, permissions, the model, Redis, secrets and Salesforce.

    Takes the options of `rescore run`, from the same sources, and checks the resources that they name. Says how to fix
    each problem, and exits 1 if there are any. Changes nothing. Makes one call to Gemini of about 5,000 tokens, which
    costs money. Ends within half a minute, even if a service does not answer.
    """
    with command(verbose=verbose):
        from pipeline.doctor.diagnosis import deployment_from, diagnose  # noqa: PLC0415 - imports Beam: seconds
        from pipeline.doctor.view import live_view, render  # noqa: PLC0415

        diagnosis = diagnose(
            deployment_from(context.args, persona, flags_of(context), only_tables=only_tables), live_view
        )
    end_with(diagnosis, render, as_json=as_json, is_ok=diagnosis.is_ok)
