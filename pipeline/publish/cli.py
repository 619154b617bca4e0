"""`rescore publish`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.terminal.exit_codes import command
from pipeline.terminal.parameters import Verbose, checked_project
from pipeline.terminal.progress import counting
from pipeline.terminal.tables import counted

app = typer.Typer()


@app.command(epilog="Example: `rescore publish events/ --project my-project`")
def publish(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Change events: JSON, JSON lines, or a folder of them.")],
    *,
    project: Annotated[
        str,
        typer.Option(
            envvar="GOOGLE_CLOUD_PROJECT", callback=checked_project, help="Google Cloud project of the topic."
        ),
    ],
    topic: Annotated[str, typer.Option(help="Topic: a name, or projects/P/topics/NAME.")] = "account-changes",
    verbose: Verbose = False,
) -> None:
    """Publish change events from files, byte for byte, one message per event."""
    with command(verbose=verbose):
        from pipeline.publish.publishing import publish_files  # noqa: PLC0415 - grpc takes a second to import

        with counting("publishing") as on_count:
            count = publish_files(path, project=project, topic=topic, on_count=on_count)
    typer.echo(f"published {counted(count, 'event')} to {topic}", err=True)
