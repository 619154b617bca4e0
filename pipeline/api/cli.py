"""`rescore serve`."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from pipeline.terminal.exit_codes import command
from pipeline.terminal.parameters import Materiality, Project, Schemas, Verbose

app = typer.Typer()


@app.command(
    epilog="Example: `rescore serve --project my-project --allow-anonymous` on a local stack, or with --allow-list "
    "allow-list.yaml --audience https://scores.example.com"
)
def serve(
    *,
    project: Project,
    dataset: Annotated[str, typer.Option(help="BigQuery dataset of scores, ledger and dead letters.")] = (
        "account_scoring"
    ),
    crm_dataset: Annotated[str, typer.Option(help="BigQuery dataset of the CRM mirror, for names.")] = "crm",
    topic: Annotated[str, typer.Option(help="Topic of change events: a name, or projects/P/topics/NAME.")] = (
        "account-changes"
    ),
    parking_lot: Annotated[str, typer.Option(help="Topic of dead letters that were replayed too often.")] = (
        "account-changes-parking-lot"
    ),
    hold: Annotated[str, typer.Option(help="Subscription of the dead-letter topic.")] = (
        "account-changes-dead-letter-hold"
    ),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="PORT", min=0, max=65_535, help="Port to listen on; 0 takes a free one.")
    ] = 8080,
    allow_list: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="YAML of who may ask, with their roles: reader, operator, publisher. Read again if changed.",
        ),
    ] = None,
    audience: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Audience of bearer tokens that Google signed: this service's URL."),
    ] = None,
    iap_audience: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Audience of IAP's header; give it only where IAP stands in front."),
    ] = None,
    oidc_certs_url: Annotated[
        str, typer.Option(metavar="URL", help="Certificates of bearer tokens: Google's.")
    ] = "https://www.googleapis.com/oauth2/v1/certs",
    iap_certs_url: Annotated[
        str, typer.Option(metavar="URL", help="Certificates of IAP's header: Google's.")
    ] = "https://www.gstatic.com/iap/verify/public_key",
    allow_anonymous: Annotated[
        bool,
        typer.Option(
            "--allow-anonymous",
            help="Whoever reaches loopback on this machine may read scores, and on a local stack do everything. "
            "Refused with any other --host: for development, on a machine that nobody shares.",
        ),
    ] = False,
    refresh_seconds: Annotated[
        float, typer.Option(min=0.2, max=3600, help="Seconds between two reads of new scores from BigQuery.")
    ] = 5.0,
    reads_a_minute: Annotated[int, typer.Option(min=1, max=1_000_000, help="Of one principal, at most.")] = 1_200,
    writes_a_minute: Annotated[int, typer.Option(min=1, max=1_000_000, help="Of one principal, at most.")] = 120,
    materiality: Materiality = None,
    schemas: Schemas = None,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Start although BigQuery or Pub/Sub does not answer.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Serve scores, dead letters and replays over HTTP, and take change events, until Ctrl-C.

    Scores are read from BigQuery into a temporary database, every few seconds; while BigQuery does not answer, the old
    ones are served, and each answer says of when they are. docs/api says what can be asked.
    """
    with command(verbose=verbose):
        require_serve()
        from pipeline.api.rate_limits import RateLimits  # noqa: PLC0415 - imports FastAPI: 1 s
        from pipeline.api.serving import Access, ServeSettings  # noqa: PLC0415
        from pipeline.api.serving import serve as serve_api  # noqa: PLC0415 - imports BigQuery: 1 s
        from pipeline.dead_letters.replay_resources import ReplayResources  # noqa: PLC0415
        from pipeline.resources.rule_files import RuleFiles  # noqa: PLC0415

        serve_api(
            ServeSettings(
                resources=ReplayResources(project, dataset, topic, parking_lot, hold, crm_dataset),
                access=Access(allow_list, audience, iap_audience, oidc_certs_url, iap_certs_url, allow_anonymous),
                host=host,
                port=port,
                refresh_seconds=refresh_seconds,
                limits=RateLimits(reads_a_minute, writes_a_minute),
                rule_files=RuleFiles(materiality, schemas),
                is_checked=not no_check,
            ),
            say=lambda line: typer.echo(f"rescore: {line}", err=True),
        )


def require_serve() -> None:
    """Check that the extra `serve` is installed.

    Raises:
        ValueError: It is not; the message says how to install it.
    """
    wanted = ("fastapi", "limits", "prometheus_client", "uvicorn")
    if missing := [name for name in wanted if importlib.util.find_spec(name) is None]:
        raise ValueError(f"{missing[0]} is not installed: pip install 'account-rescoring[serve]'")
