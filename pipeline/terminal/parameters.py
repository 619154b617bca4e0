"""Parameters that several commands take."""

from pathlib import Path
from typing import Annotated, Final

import typer
from typer._click.exceptions import UsageError

TIME: Final = "TIME"
DURATION: Final = "DURATION"
DAY: Final = "DAY"
"""What options that take a time call their value; a test calls each of them with something else."""

A_TIME: Final = "24h, 7d, or an ISO date or time, UTC if it has no zone"

DataDir = Annotated[Path | None, typer.Option(help="Keep the warehouse and credentials in this folder.")]
Accounts = Annotated[
    int, typer.Option(min=1, max=100_000, help="Accounts of the generated CRM; 8803 is the full size.")
]
Seed = Annotated[int, typer.Option(help="The same seed generates the same CRM and events.")]
Crm = Annotated[Path | None, typer.Option(help="A CRM extract (folder of CSV files) instead of the generated CRM.")]


def checked_project(context: typer.Context, project: str) -> str:
    """Return a project's id; Google's services would refuse a text that is none with a bare INVALID_ARGUMENT."""
    if context.resilient_parsing:  # completion
        return project
    from schemas.identifiers import ProjectId, checked  # noqa: PLC0415 - imports pydantic: 0.1 s

    try:
        return checked(ProjectId, project, "--project")
    except ValueError as error:
        raise UsageError(str(error)) from None


Project = Annotated[
    str, typer.Option(envvar="GOOGLE_CLOUD_PROJECT", callback=checked_project, help="Google Cloud project.")
]
Materiality = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="YAML of which entities and changes matter, instead of the defaults."),
]
Schemas = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Avro schemas, SCHEMA_ID.avsc, to decode field bitmaps with.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log more than warnings.")]


def flags_of(context: typer.Context) -> list[str]:
    """Return a command's own options, for one that also takes those of Beam and the pipeline."""
    return [name for param in context.command.get_params(context) for name in param.opts]
