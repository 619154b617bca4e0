"""`rescore dead-letters list`: dead letters by error class and stage, with an example and what to do."""

from dataclasses import dataclass
from typing import Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.dead_letters.dead_letter_filter import DeadLetterFilter
from pipeline.dead_letters.dead_letter_table import DeadLetterGroup, DeadLetterTable
from pipeline.dead_letters.replay_resources import ReplayResources
from pipeline.terminal.tables import fact_table, plain
from schemas.failures import ErrorClass

UNKNOWN_CLASS: Final = "This version does not know the class: see CHANGELOG.md of the version that wrote it."


@dataclass(frozen=True)
class DeadLetterListing:
    """The dead letters that match a filter, by error class and stage."""

    dead_letter_filter: DeadLetterFilter
    groups: tuple[DeadLetterGroup, ...]

    @property
    def dead_letters(self) -> int:
        """How many match."""
        return sum(group.dead_letters for group in self.groups)

    def document(self) -> dict[str, Any]:
        """Return the listing as `--json` prints it."""
        return {
            "filter": self.dead_letter_filter.document(),
            "letters": self.dead_letters,
            "groups": [
                {
                    "error_class": group.error_class,
                    "stage": group.stage,
                    "letters": group.dead_letters,
                    "accounts": group.accounts,
                    "replayed": group.replayed,
                    "retryable": group.retryable,
                    "first_failed_at": group.first_failed_at,
                    "last_failed_at": group.last_failed_at,
                    "example": {"dead_letter_id": group.example_id, "error_message": group.example_message},
                    "remedy": remedy_of(group.error_class),
                }
                for group in self.groups
            ],
        }


def remedy_of(error_class: str) -> str:
    """Return what to do about dead letters of a class."""
    return ErrorClass(error_class).remedy if error_class in set(ErrorClass) else UNKNOWN_CLASS


def list_dead_letters(resources: ReplayResources, dead_letter_filter: DeadLetterFilter) -> DeadLetterListing:
    """Group the dead letters that match.

    Raises:
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    with resources.open_warehouse() as warehouse:
        groups = DeadLetterTable(warehouse, resources.dataset).groups(dead_letter_filter)
    return DeadLetterListing(dead_letter_filter, tuple(groups))


def render(listing: DeadLetterListing) -> Group:
    """Return a block for each class and stage: how many, since when, an example, and what to do."""
    parts: list[Text | Table] = []
    for group in listing.groups:
        title = Text.assemble(plain(f"{group.error_class}", "bold red"), plain(f"  {group.stage}", "bold"))
        count = f"{group.dead_letters}, of {group.accounts} accounts; {group.replayed} replayed or parked"
        retryable = "yes: a replay can succeed without other changes"
        table = fact_table(
            ("dead letters", count),
            ("failed (UTC)", f"{group.first_failed_at:%Y-%m-%d %H:%M:%S} to {group.last_failed_at:%Y-%m-%d %H:%M:%S}"),
            ("retryable", retryable if group.retryable else "no: something has to change first"),
            ("example", f"{group.example_id}\n{group.example_message}"),
            ("remedy", remedy_of(group.error_class)),
        )
        parts += [title, table, Text()]
    return Group(*parts, Text(f"{listing.dead_letters} dead letters", style="bold"))
