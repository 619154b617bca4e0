"""`rescore explain`: what the pipeline would decide about events in files, without running it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from rich.console import Group
from rich.text import Text

from pipeline.ledger.event_files import read_named_events
from pipeline.ledger.explanation import Decision, Explanation, explain_message
from pipeline.terminal.input_files import named
from pipeline.terminal.tables import Facts, Paragraph, counted, fact_table, plain
from schemas.clock import Clock, utc_now
from transforms.filter.materiality import load_materiality
from transforms.parse.avro_schemas import load_avro_schemas

_STYLES: Final = {
    Decision.RESCORE: "green",
    Decision.TOMBSTONE: "magenta",
    Decision.SKIP: "dim",
    Decision.RESYNC: "yellow",
    Decision.DEAD_LETTER: "bold red",
}
_FIELDS_SHOWN: Final = 6
_DECISION_WIDTH: Final = 26


@dataclass(frozen=True)
class Explained:
    """The explanations of the records of some files' events, in their order, each with its file."""

    records: tuple[tuple[Path, Explanation], ...]
    messages: int
    events: int
    """Those that can't be read included."""

    def document(self) -> list[dict[str, Any]]:
        """Return the array that `--json` prints."""
        return [{"file": str(file)} | explanation.document() for file, explanation in self.records]


def explain(
    paths: Sequence[Path], *, materiality: Path | None, schemas: Path | None, now: Clock = utc_now
) -> Explained:
    """Explain the events of files and folders, in their order.

    Raises:
        EventFileError: A path has no events.
        YamlFileError: The rules can't be used.
        AvroSchemaError: The folder of schemas can't be used.
    """
    rules, registered = load_materiality(materiality), load_avro_schemas(schemas)
    read_at = now()
    messages = [
        (file, explain_message(payload, rules, registered, read_at))
        for path in paths
        for file, payload in read_named_events(path)
    ]
    return Explained(
        records=tuple((file, record) for file, records in messages for record in records),
        messages=len(messages),
        events=sum(len({record.event_in_message for record in records}) for _, records in messages),
    )


def render(explained: Explained) -> Group:
    """Return for each file the accounts of its records, each with its decision and why, and counts of decisions."""
    parts: list[Paragraph | Facts] = []
    for file, records in groupby(explained.records, key=itemgetter(0)):
        parts += [Paragraph(named(file), "bold"), fact_table(*(_fact(explanation) for _, explanation in records))]
    counts = Counter(explanation.decision for _, explanation in explained.records)
    total = ", ".join(f"{counts[decision]} {_word(decision)}" for decision in Decision if counts[decision])
    return Group(*parts, plain(f"{_counted(explained)}: {total}" if total else "no events", "bold"))


def _counted(explained: Explained) -> str:
    """Return the number of events; that of messages and of records only where they are others."""
    counts = [counted(explained.events, "event")]
    if explained.messages != explained.events:
        counts.insert(0, counted(explained.messages, "message"))
    if len(explained.records) != explained.events:
        counts.append(counted(len(explained.records), "record"))
    return ", ".join(counts)


def _fact(it: Explanation) -> tuple[str, Text]:
    decision = plain(f"{_word(it.decision)}: {it.reason}", _STYLES[it.decision])
    # Of one width, so that what follows begins in one column.
    why = _why(it)
    decision.pad_right(max(0, _DECISION_WIDTH - len(decision)) if why else 0)
    number = f"event {it.event_in_message}: " if it.event_in_message else ""
    return f"{number}{it.account_id or 'no account'}", Text.assemble(decision, "  ", why) if why else decision


def _word(decision: Decision) -> str:
    return decision.replace("_", "-")


def _why(explanation: Explanation) -> Text:
    """Return a dead letter's message, or the changed fields, the material ones first and in bold, and the flags."""
    if explanation.message:
        return plain(explanation.message)
    fields = dict.fromkeys((*explanation.material_fields, *explanation.changed_fields, *explanation.nulled_fields))
    material = frozenset(explanation.material_fields)
    shown = [plain(name, "bold" if name in material else "dim") for name in [*fields][:_FIELDS_SHOWN]]
    if len(fields) > _FIELDS_SHOWN:
        shown.append(plain(f"{len(fields) - _FIELDS_SHOWN} more", "dim"))
    shown += [plain(flag, "yellow") for flag in explanation.flags]
    return Text(", ").join(shown)
