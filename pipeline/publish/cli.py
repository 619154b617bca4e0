"""`rescore publish`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.terminal.exit_codes import command
from pipeline.terminal.parameters import Verbose
from pipeline.terminal.tables import counted

app = typer.Typer()


@app.command(epilog="Example: `rescore publish events/ --project my-project`")
def publish(
    path: Annotated[Path, typer.Argument(help="Change events: JSON, JSON lines, or a folder of them.")],
    *,
    project: Annotated[str, typer.Option(envvar="GOOGLE_CLOUD_PROJECT", help="Google Cloud project of the topic.")],
    topic: Annotated[str, typer.Option(help="Topic: a name, or projects/P/topics/NAME.")] = "account-changes",
    verbose: Verbose = False,
) -> None:
    """Publish change events from files, byte for byte, one message per event."""
    from pipeline.publish.publishing import publish_files  # noqa: PLC0415 - grpc takes a second to import

    with command(verbose=verbose):
        count = publish_files(path, project=project, topic=topic)
    typer.echo(f"published {counted(count, 'event')} to {topic}", err=True)
