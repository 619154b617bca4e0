"""The command `rescore`, assembled from the `typer.Typer` of each feature.

Commands import their implementation when they are called: Beam takes seconds to import, which would delay `--help`.
`pipeline.terminal.command_group` has the manners that all commands share.
"""

from collections.abc import Iterable
from typing import Annotated

import typer

from pipeline.api import cli as api
from pipeline.backfill import cli as backfill
from pipeline.cli import run
from pipeline.cli.versions import print_versions
from pipeline.dead_letters import cli as dead_letters
from pipeline.doctor import cli as doctor
from pipeline.evaluation import cli as evaluation
from pipeline.ledger import cli as ledger
from pipeline.local import cli as local
from pipeline.publish import cli as publish
from pipeline.scores import cli as scores
from pipeline.terminal.command_group import SETTINGS, CommandGroup, with_manners
from pipeline.terminal.help_pages import PlainCommand

app = typer.Typer(
    cls=CommandGroup,
    context_settings=SETTINGS,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for group in (local, publish, run, scores, ledger, dead_letters, backfill, evaluation, doctor, api):
    app.add_typer(group.app)
with_manners(app)


def _passed_on() -> "Iterable[tuple[str, str]]":
    from pipeline.config.options_help import option_names  # noqa: PLC0415 - builds the options' models: 0.2 s

    return option_names()


PlainCommand.passed_on = staticmethod(_passed_on)


@app.callback()
def rescore(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=print_versions, is_eager=True, help="Print the versions of what scores, and exit."
        ),
    ] = False,
) -> None:
    """Rescores Salesforce accounts as they change: Pub/Sub → Gemini → BigQuery."""
