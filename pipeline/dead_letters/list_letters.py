"""`rescore dead-letters list`: what failed, how much of it, and what to do about it."""

from dataclasses import dataclass
from typing import Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.dead_letters.letter_filter import LetterFilter
from pipeline.dead_letters.letter_rows import LetterGroup, LetterRows
from pipeline.dead_letters.names import Place, open_warehouse
from pipeline.terminal.tables import fact_table
from pipeline.terminal.text import plain
from schemas.failures import ErrorClass

UNKNOWN_CLASS: Final = "This version knows no such class: see CHANGELOG.md of the version that wrote it."


@dataclass(frozen=True)
class LetterListing:
    """The letters that match a filter, by class and stage."""

    letter_filter: LetterFilter
    groups: tuple[LetterGroup, ...]

    @property
    def letters(self) -> int:
        """How many match."""
        return sum(group.letters for group in self.groups)

    def document(self) -> dict[str, Any]:
        """Return the listing as `--json` prints it."""
        return {
            "filter": self.letter_filter.document(),
            "letters": self.letters,
            "groups": [
                {
                    "error_class": group.error_class,
                    "stage": group.stage,
                    "letters": group.letters,
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
    """Return what to do about a class."""
    return ErrorClass(error_class).remedy if error_class in set(ErrorClass) else UNKNOWN_CLASS


def list_letters(place: Place, letter_filter: LetterFilter) -> LetterListing:
    """Group the letters that match.

    Raises:
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    with open_warehouse(place) as warehouse:
        return LetterListing(letter_filter, tuple(LetterRows(warehouse, place.dataset).groups(letter_filter)))


def render(listing: LetterListing) -> Group:
    """Return a block for each class and stage: how many, since when, an example, and what to do."""
    parts: list[Text | Table] = []
    for group in listing.groups:
        title = Text.assemble(plain(f"{group.error_class}", "bold red"), plain(f"  {group.stage}", "bold"))
        table = fact_table(
            ("letters", f"{group.letters}, of {group.accounts} accounts; {group.replayed} replayed or parked"),
            ("failed (UTC)", f"{group.first_failed_at:%Y-%m-%d %H:%M:%S} to {group.last_failed_at:%Y-%m-%d %H:%M:%S}"),
            ("retryable", "yes: time alone can mend it" if group.retryable else "no: something has to change first"),
            ("example", f"{group.example_id}\n{group.example_message}"),
            ("remedy", remedy_of(group.error_class)),
        )
        parts += [title, table, Text()]
    return Group(*parts, Text(f"{listing.letters} letters", style="bold"))
