"""`rescore doctor`: what of a deployment is wrong."""

import os
import sys
from typing import Annotated

import typer
from rich.console import Console

from pipeline.terminal.exit_codes import ends_in_order, one_line_errors
from pipeline.terminal.logs import configure_logging
from pipeline.terminal.parameters import Json, Verbose

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
    duty: Annotated[
        str,
        typer.Option("--for", metavar="pipeline|replay|both", help="Whose permissions these credentials should have."),
    ] = "both",
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Check a deployment: credentials, topics, tables, permissions, the model, Redis, secrets and Salesforce.

    Takes the options of `rescore run`, from the same places, and checks what they name. Says how to mend each thing
    that is wrong, and exits 1 if there is any. It changes nothing. It makes one call to Gemini, of about 5,000 tokens,
    which are paid for. It ends within a minute, whatever does not answer.
    """
    # Off Google Cloud its clients look for a metadata server, three times, for longer than a check may take.
    os.environ.setdefault("GCE_METADATA_TIMEOUT", "1")
    from pipeline.doctor.diagnosis import as_json as to_json  # noqa: PLC0415 - Beam takes seconds to import
    from pipeline.doctor.diagnosis import deployment_from, diagnose  # noqa: PLC0415
    from pipeline.doctor.view import live_view, render  # noqa: PLC0415

    configure_logging(verbose=verbose)
    with one_line_errors(), ends_in_order():
        diagnosis = diagnose(deployment_from(context.args, duty), live_view(Console(stderr=True)))
    if as_json:
        sys.stdout.write(to_json(diagnosis) + "\n")
    else:
        Console().print(render(diagnosis))
    raise typer.Exit(0 if diagnosis.is_ok else 1)
