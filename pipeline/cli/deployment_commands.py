"""`rescore doctor`: what of a deployment is wrong."""

import os
import sys
from typing import Annotated

import typer
from rich.console import Console

from pipeline.cli.endings import ends_in_order, one_line_errors
from pipeline.cli.parameters import Json, Verbose
from pipeline.logs import configure_logging

app = typer.Typer()


@app.command(
    # As `rescore run` names them: --salesforce_login_url is --salesforce-login-url.
    context_settings={"token_normalize_func": lambda name: name.replace("_", "-")},
    epilog="Example: `rescore doctor --project my-project`, or for the worker's permissions, after "
    "`gcloud auth application-default login --impersonate-service-account=rescoring-worker@my-project."
    "iam.gserviceaccount.com`: `rescore doctor --project my-project --for pipeline --json`",
)
def doctor(
    *,
    project: Annotated[str, typer.Option(envvar="GOOGLE_CLOUD_PROJECT", help="Google Cloud project to check.")],
    dataset: Annotated[str, typer.Option(help="Dataset of scores, ledger and dead letters.")] = "account_scoring",
    crm_dataset: Annotated[str, typer.Option("--crm-dataset", help="Dataset with the CRM's mirror.")] = "crm",
    model: Annotated[
        str | None, typer.Option(help="Gemini model that scores; the pipeline's own if none is named.")
    ] = None,
    location: Annotated[
        str | None, typer.Option(help="Vertex AI location of the model; the pipeline's own if none is named.")
    ] = None,
    duty: Annotated[
        str,
        typer.Option("--for", metavar="pipeline|replay|both", help="Whose permissions these credentials should have."),
    ] = "both",
    redis_url: Annotated[
        str,
        typer.Option("--redis-url", help="Redis: a URL without a password, or where the URL is kept, as in run."),
    ] = "",
    salesforce_login_url: Annotated[
        str, typer.Option("--salesforce-login-url", help="My Domain of the organisation.")
    ] = "",
    salesforce_client_id: Annotated[
        str, typer.Option("--salesforce-client-id", help="Consumer key of the connected app.")
    ] = "",
    salesforce_secret: Annotated[
        str,
        typer.Option(
            "--salesforce-secret",
            help="Where its secret is: a variable's name, or projects/P/secrets/S/versions/V.",
        ),
    ] = "",
    salesforce_auth: Annotated[
        str,
        typer.Option("--salesforce-auth", metavar="client_credentials|jwt_bearer", help="OAuth flow."),
    ] = "client_credentials",
    salesforce_username: Annotated[
        str | None,
        typer.Option("--salesforce-username", help="The integration user, for JWT bearer."),
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Check a deployment: credentials, topics, tables, permissions, the model, Redis, secrets and Salesforce.

    Says how to mend each thing that is wrong, and exits 1 if there is any. It changes nothing. It makes one call to
    Gemini, of about 5,000 tokens, which are paid for. It ends within a minute, whatever does not answer.
    """
    # Off Google Cloud its clients look for a metadata server, three times, for longer than a check may take.
    os.environ.setdefault("GCE_METADATA_TIMEOUT", "1")
    from pipeline.commands.doctor import SalesforceOptions, deployment_from, diagnose  # noqa: PLC0415 - takes a second
    from pipeline.commands.doctor import as_json as to_json  # noqa: PLC0415
    from pipeline.commands.doctor_view import live_view, render  # noqa: PLC0415
    from transforms.generation import DEFAULT_LOCATION, DEFAULT_MODEL  # noqa: PLC0415

    configure_logging(verbose=verbose)
    with one_line_errors(), ends_in_order():
        deployment = deployment_from(
            project=project,
            dataset=dataset,
            crm_dataset=crm_dataset,
            model=model or DEFAULT_MODEL,
            location=location or DEFAULT_LOCATION,
            redis_url=redis_url,
            salesforce=SalesforceOptions(
                login_url=salesforce_login_url,
                client_id=salesforce_client_id,
                secret=salesforce_secret,
                auth=salesforce_auth,
                username=salesforce_username,
            ),
            duty=duty,
        )
        diagnosis = diagnose(deployment, live_view(Console(stderr=True)))
    if as_json:
        sys.stdout.write(to_json(diagnosis) + "\n")
    else:
        Console().print(render(diagnosis))
    raise typer.Exit(0 if diagnosis.is_ok else 1)
