"""`rescore dead-letters show`: everything that is known of one dead letter."""

import base64
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson
import structlog
from rich.console import Group
from rich.text import Text

from pipeline.dead_letters.dead_letter_table import DeadLetterTable, message_to_replay
from pipeline.dead_letters.list_dead_letters import remedy_of
from pipeline.dead_letters.mirror_accounts import account_to_look_up, open_mirror
from pipeline.dead_letters.replay_resources import ReplayResources
from pipeline.ledger.explanation import Explanation, explained_records
from pipeline.resources.rule_files import RuleFiles
from pipeline.terminal.tables import Facts, Paragraph, fact_table, unbroken
from pipeline.terminal.times import moment
from schemas.dead_letter import DeadLetterRow
from transforms.errors import RefusedEvent, WarehouseUnavailable
from transforms.parse.message_text import Allowance, decompressed, is_gzip

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True)
class ShownDeadLetter:
    """A dead letter, what the pipeline would decide about its payload now, its replays, and its ledger rows."""

    row: DeadLetterRow
    payload: bytes | None
    explanations: tuple[Explanation, ...]
    replays: tuple[Mapping[str, Any], ...]
    outcomes: tuple[Mapping[str, Any], ...]
    missing_accounts: frozenset[str] | None = frozenset()
    """Accounts that the explained changes need, and the CRM mirror lacks; None if the mirror can't be read."""

    def document(self) -> dict[str, Any]:
        """Return the dead letter as `--json` prints it: the whole row, with the payload decoded as well."""
        return {
            **msgspec.structs.asdict(self.row),
            "attributes": {attribute.key: attribute.value for attribute in self.row.attributes},
            "payload": None if self.payload is None else decoded_payload(self.payload),
            "explained": [explanation.document() for explanation in self.explanations],
            "missing_accounts": None if self.missing_accounts is None else sorted(self.missing_accounts),
            "replays": [dict(replay) for replay in self.replays],
            "outcomes": [dict(outcome) for outcome in self.outcomes],
            "remedy": remedy_of(self.row.error_class),
        }


def show_dead_letter(resources: ReplayResources, dead_letter_id: str, rule_files: RuleFiles) -> ShownDeadLetter:
    """Look a dead letter up by its id, or by the first digits of the id.

    Raises:
        ValueError: No dead letter has that id, or a file can't be used.
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    rules, registered = rule_files.rules, rule_files.avro_schemas
    with resources.open_warehouse() as warehouse:
        table = DeadLetterTable(warehouse, resources.dataset)
        row = table.dead_letter(dead_letter_id)
        replays, outcomes = tuple(table.replays(row)), tuple(table.outcomes(row))
    attributes = {it.key: it.value for it in row.attributes}
    message = message_to_replay(row.payload_base64, attributes, row.replay_count, row.first_failed_at)
    explained = explained_records(message, rules, registered) if message else []
    needed = {account_id for record, it in explained if (account_id := account_to_look_up(record, it))}
    return ShownDeadLetter(
        row=row,
        payload=message.payload if message else None,
        explanations=tuple(it for _, it in explained),
        replays=replays,
        outcomes=outcomes,
        missing_accounts=_missing(resources, needed),
    )


def _missing(resources: ReplayResources, account_ids: Collection[str]) -> frozenset[str] | None:
    """Return the accounts that the mirror lacks; None if it can't be read, without which all else can be shown."""
    if not account_ids:
        return frozenset()
    try:
        with open_mirror(resources.project, resources.crm_dataset) as mirror:
            return mirror.missing(account_ids)
    except WarehouseUnavailable as error:
        _log.warning("the CRM mirror can't be read", reason=str(error))
        return None


def decoded_payload(payload: bytes) -> Any:
    """Return a payload as JSON if it can be decoded as such, else as text, else as base64; gzip as what it holds."""
    try:
        text = decompressed(payload, Allowance()) if is_gzip(payload) else payload
    except RefusedEvent:
        text = payload  # damaged, or larger than what the pipeline reads
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return text.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(payload).decode()}


def render(shown: ShownDeadLetter) -> Group:
    """Return the report, with the payload."""
    title = Paragraph(f"dead letter {shown.row.dead_letter_id}", "bold")
    return Group(title, _row(shown.row), _history(shown), Text("payload", "bold"), _payload(shown))


def _row(row: DeadLetterRow) -> Facts:
    return fact_table(
        ("class", f"{row.error_class}: {row.error_message}"),
        ("stage", row.stage),
        ("failed (UTC)", f"{moment(row.failed_at)}, first {moment(row.first_failed_at)}"),
        ("retryable", "yes" if row.retryable else "no"),
        ("event", row.event_id),
        ("account", row.account_id or "none"),
        ("replayed before", str(row.replay_count)),
        ("message", f"{row.message_id or 'unknown'}, {_published(row)}"),
        (
            "versions",
            f"pipeline {row.pipeline_version}, prompt {row.prompt_version or 'none'}, model {row.model or '-'}",
        ),
        ("trace", row.trace_id),
        ("sha-256", row.payload_sha256),
        ("attributes", "\n".join(f"{it.key}: {it.value}" for it in row.attributes) or "none"),
        ("remedy", remedy_of(row.error_class)),
    )


def _published(row: DeadLetterRow) -> str:
    return f"published {moment(row.published_at)} UTC" if row.published_at else "published at an unknown time"


def _history(shown: ShownDeadLetter) -> Facts:
    now = [
        f"{it.account_id or 'no account'}: {it.decision}, {it.reason}{f': {it.message}' if it.message else ''}"
        f"{_looked_up(shown, it)}"
        for it in shown.explanations
    ]
    replays = [
        f"{moment(it['recorded_at'])} {it['fate']} by {it['actor']} ({it['replay_id']}): {it['reason']}"
        f"{'; ' + it['parked_because'] if it['parked_because'] else ''}"
        for it in shown.replays
    ]
    outcomes = [
        f"{moment(it['recorded_at'])} {it['outcome']}{': ' + it['why'] if it['why'] else ''}"
        f" at {it['stage']}, replay {it['replay_count']}, pipeline {it['pipeline_version']}"
        for it in shown.outcomes
    ]
    return fact_table(
        ("explained now", "\n".join(now) or "unknown: only the message on the topic has the payload"),
        ("replays", "\n".join(replays) or "none"),
        ("ledger", "\n".join(outcomes) or "no rows"),
    )


def _looked_up(shown: ShownDeadLetter, explanation: Explanation) -> str:
    if shown.missing_accounts is None:
        return "; the CRM mirror can't be read"
    if explanation.account_id in shown.missing_accounts:
        return "; but the CRM mirror lacks the account: it would fail as account_not_found"
    return ""


def _payload(shown: ShownDeadLetter) -> Text:
    if shown.payload is None:
        return Text("too large for its row: pull it from the hold subscription by its event_id")
    decoded = decoded_payload(shown.payload)
    text = decoded if isinstance(decoded, str) else json.dumps(decoded, indent=2, ensure_ascii=False)
    return unbroken(text)
