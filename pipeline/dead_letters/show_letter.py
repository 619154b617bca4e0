"""`rescore dead-letters show`: all that is known of one letter."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import orjson
from rich.console import Group
from rich.text import Text

from pipeline.dead_letters.letter_rows import LetterRows
from pipeline.dead_letters.list_letters import remedy_of
from pipeline.dead_letters.names import Place, open_warehouse
from pipeline.ledger.explanation import Explanation, explain_message
from pipeline.terminal.tables import fact_table, lines_of
from pipeline.terminal.text import plain
from schemas.dead_letter import DeadLetterRow
from transforms.filter.materiality import load_materiality
from transforms.parse.avro_schemas import load_avro_schemas


@dataclass(frozen=True)
class ShownLetter:
    """A letter, what `rescore explain` says of its payload now, its replays, and what became of its change."""

    row: DeadLetterRow
    payload: bytes | None
    explanations: tuple[Explanation, ...]
    replays: tuple[Mapping[str, Any], ...]
    fates: tuple[Mapping[str, Any], ...]

    def document(self) -> dict[str, Any]:
        """Return the letter as `--json` prints it: all of it, the payload as it came and decoded besides."""
        return {
            **msgspec.to_builtins(self.row),
            "attributes": {attribute.key: attribute.value for attribute in self.row.attributes},
            "payload": None if self.payload is None else decoded_payload(self.payload),
            "explained": [explanation.document() for explanation in self.explanations],
            "replays": [dict(replay) for replay in self.replays],
            "outcomes": [dict(fate) for fate in self.fates],
            "remedy": remedy_of(self.row.error_class),
        }


def show_letter(place: Place, letter_id: str, *, materiality: Path | None, schemas: Path | None) -> ShownLetter:
    """Look a letter up by its id, or by the first digits of it.

    Raises:
        ValueError: There is no such letter, or a file can't be used.
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    rules, registered = load_materiality(materiality), load_avro_schemas(schemas)
    with open_warehouse(place) as warehouse:
        rows = LetterRows(warehouse, place.dataset)
        row = rows.letter(letter_id)
        payload = None if row.payload_base64 is None else base64.b64decode(row.payload_base64)
        return ShownLetter(
            row=row,
            payload=payload,
            explanations=() if payload is None else tuple(explain_message(payload, rules, registered)),
            replays=tuple(rows.replays(row)),
            fates=tuple(rows.fates(row)),
        )


def decoded_payload(payload: bytes) -> Any:
    """Return a payload as JSON if it is that, as text if it is that, and as base64 otherwise."""
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        pass
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(payload).decode()}


def render(letter: ShownLetter) -> Group:
    """Return all that is known of a letter, its payload too: whoever shows a letter has asked for that."""
    row = letter.row
    facts = fact_table(
        ("class", f"{row.error_class}: {row.error_message}"),
        ("stage", row.stage),
        ("failed (UTC)", f"{row.failed_at:%Y-%m-%d %H:%M:%S}, first {row.first_failed_at:%Y-%m-%d %H:%M:%S}"),
        ("retryable", "yes" if row.retryable else "no"),
        ("event, account", f"{row.event_id}, {row.account_id or 'no account'}"),
        ("replayed before", str(row.replay_count)),
        ("message", f"{row.message_id or 'unknown'}, published {row.published_at or 'unknown'}"),
        (
            "versions",
            f"pipeline {row.pipeline_version}, prompt {row.prompt_version or 'none'}, model {row.model or '-'}",
        ),
        ("trace", row.trace_id),
        ("sha-256", row.payload_sha256),
        ("attributes", "\n".join(f"{it.key}: {it.value}" for it in row.attributes) or "none"),
        ("remedy", remedy_of(row.error_class)),
    )
    now = [
        f"{it.account_id or 'no account'}: {it.decision}, {it.reason}{f': {it.message}' if it.message else ''}"
        for it in letter.explanations
    ]
    replays = [
        f"{it['recorded_at']:%Y-%m-%d %H:%M:%S} {it['fate']} by {it['actor']} ({it['replay_id']}): {it['reason']}"
        f"{'; ' + it['parked_because'] if it['parked_because'] else ''}"
        for it in letter.replays
    ]
    fates = [
        f"{it['recorded_at']:%Y-%m-%d %H:%M:%S} {it['outcome']}{': ' + it['why'] if it['why'] else ''}"
        f" at {it['stage']}, replay {it['replay_count']}, pipeline {it['pipeline_version']}"
        for it in letter.fates
    ]
    after = fact_table(
        ("explained now", "\n".join(now) or "not to be said: the payload is on the topic alone"),
        ("replays", "\n".join(replays) or "none"),
        ("ledger", "\n".join(fates) or "nothing"),
    )
    return Group(plain(f"letter {row.dead_letter_id}", "bold"), facts, after, Text("payload", "bold"), _payload(letter))


def _payload(letter: ShownLetter) -> Text:
    if letter.payload is None:
        return Text("too large for its row: pull it from the hold subscription by its event_id")
    decoded = decoded_payload(letter.payload)
    text = decoded if isinstance(decoded, str) else json.dumps(decoded, indent=2, ensure_ascii=False)
    return lines_of(text)
