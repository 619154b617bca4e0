"""What to type so that events without an outcome are processed after all; pure."""

import datetime as dt
import shlex
from pathlib import Path
from typing import Final

from pipeline.ledger.ledger_groups import Window
from pipeline.ledger.reconciliation import Lost
from pipeline.resources.names import SCORING_DATASET

SEEK_MARGIN: Final = dt.timedelta(minutes=10)
"""How long before the oldest lost event a seek starts: too early costs tokens, too late loses changes. A crash can lose
messages that were read before that event and left no row."""

ACCOUNTS_FILE: Final = Path("lost-accounts.txt")


def seek_time(first_published_at: dt.datetime) -> str:
    """Return the time from which Pub/Sub shall deliver again, as `rescore recover --to` takes it."""
    return f"{(first_published_at - SEEK_MARGIN).astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def recovery_commands(
    lost: Lost, window: Window, *, project: str, dataset: str, grace: str, accounts_file: Path | None
) -> tuple[str, ...]:
    """Return the commands: a seek for what Pub/Sub retains, a backfill of the accounts of everything else.

    Args:
        lost: The events.
        window: The period in which they were found.
        project: Google Cloud project.
        dataset: BigQuery dataset of the ledger.
        grace: The grace period, as it was typed.
        accounts_file: The file that the accounts were written to; None if they were not.
    """
    commands = []
    where = f"--project={shlex.quote(project)}"
    if dataset != SCORING_DATASET:
        where += f" --dataset={dataset}"
    if lost.retained_since:
        commands.append(f"rescore recover --to {seek_time(lost.retained_since)} {where}")
    if lost.others:
        file = shlex.quote(str(accounts_file or ACCOUNTS_FILE))
        if accounts_file is None:
            since = f"{window.since:%Y-%m-%dT%H:%M:%SZ}"
            commands.append(f"rescore reconcile --since {since} --grace {grace} --write-accounts {file} {where}")
        commands.append(f"rescore backfill --accounts {file} {where}")
    return tuple(commands)
