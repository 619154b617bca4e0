"""`rescore --version`: the versions that decide how a score comes about."""

import platform

import typer

from pipeline.terminal.results import output


def print_versions(asked: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    """Print the versions and exit, if they are asked for."""
    if not asked:
        return
    from importlib.metadata import version  # noqa: PLC0415 - 10 ms, which no other command needs

    from pipeline.version import PIPELINE_VERSION  # noqa: PLC0415
    from transforms.prompt.prompt import DEFAULT_PROMPT_VERSION  # noqa: PLC0415

    with output():
        typer.echo(
            f"rescore {PIPELINE_VERSION}, prompt {DEFAULT_PROMPT_VERSION}, Apache Beam {version('apache-beam')}, "
            f"Python {platform.python_version()}"
        )
    raise typer.Exit
