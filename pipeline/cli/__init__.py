"""The command `rescore`: a file a group of commands, each a `typer.Typer` that is put together here.

Commands import what they do when they are called: Beam takes seconds to import, and `--help` should not.
"""

import typer

from pipeline.cli import (
    dead_letter_commands,
    deployment_commands,
    ledger_commands,
    pipeline_commands,
    warehouse_commands,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Rescores Salesforce accounts as they change: Pub/Sub → Gemini → BigQuery.",
)
for group in (pipeline_commands, ledger_commands, dead_letter_commands, warehouse_commands, deployment_commands):
    app.add_typer(group.app)


def main() -> None:
    """Run the command line."""
    app(prog_name="rescore")
