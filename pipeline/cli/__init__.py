"""The command `rescore`, assembled from the `typer.Typer` of each feature.

Commands import their implementation when they are called: Beam takes seconds to import, which would delay `--help`.
"""

import typer

from pipeline.backfill import cli as backfill
from pipeline.cli import run
from pipeline.dead_letters import cli as dead_letters
from pipeline.doctor import cli as doctor
from pipeline.evaluation import cli as evaluation
from pipeline.ledger import cli as ledger
from pipeline.local import cli as local
from pipeline.publish import cli as publish
from pipeline.scores import cli as scores

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Rescores Salesforce accounts as they change: Pub/Sub → Gemini → BigQuery.",
)
for group in (local, publish, run, scores, ledger, dead_letters, backfill, evaluation, doctor):
    app.add_typer(group.app)


def main() -> None:
    """Run the command line."""
    app(prog_name="rescore")
