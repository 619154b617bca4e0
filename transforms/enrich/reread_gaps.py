"""Reread gaps: read the records of gap events from Salesforce, since such an event has no field values."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from msgspec.structs import replace

from schemas.change_event import (
    ACCOUNT_ENTITY,
    WHOLE_RECORD_GAPS,
    AccountChange,
    AccountFields,
    ChangeType,
    RecordValues,
)
from schemas.field_values import unusable_fields, unusable_value_flags
from schemas.outcome import OutcomeKind
from schemas.salesforce_fields import CONTEXT_FIELDS, MODIFIED_FIELD
from schemas.salesforce_ids import normalize_account_id
from transforms.clients.salesforce_api import SalesforceCircuitOpen, SalesforceRecord, SalesforceSettings
from transforms.errors import SalesforceUnavailable
from transforms.ledger import Ledger, Received
from transforms.logs import get_logger
from transforms.outputs import OUTCOMES, TaggedOutcome

if TYPE_CHECKING:
    from transforms.clients.salesforce import Salesforce

STAGE: Final = "Reread gaps"
BATCHES: Final = "batches"
DELETED: Final = "deleted"

_REREAD: Final = frozenset({ChangeType.GAP_CREATE, ChangeType.GAP_UPDATE, ChangeType.GAP_UNDELETE})

_log = get_logger(__name__)


def needs_reread(change: AccountChange) -> bool:
    """Whether a change is a gap event of an existing record that was not reread yet.

    Values are no sign of that: they can come from an update in the same burst.
    """
    return change.change_type in _REREAD and MODIFIED_FIELD not in change.values


def is_gone(change: AccountChange) -> bool:
    """Whether a change says that its account was deleted."""
    return change.entity_name == ACCOUNT_ENTITY and change.change_type is ChangeType.GAP_DELETE


def fields_to_read(entity: str, account_fields: AccountFields) -> tuple[str, ...]:
    """Return the fields that are read of an entity's records: those that name the account, and those of a context."""
    return tuple(dict.fromkeys((*account_fields.get(entity, ()), *CONTEXT_FIELDS.get(entity, ()))))


def reread_gaps(
    changes: Sequence[AccountChange], records: Mapping[str, SalesforceRecord], account_fields: AccountFields
) -> list[AccountChange]:
    """Return the changes in their order, gaps with the values of their records, which are given by record id.

    A gap without a record stays as it is: the record may be hidden from this service, or purged; a purge has a DELETE
    event of its own. If a related record belongs to another account by now, both accounts have changed: for the account
    of the event the record is gone, and a second change, of the other account, follows.
    """
    reread: list[AccountChange] = []
    for change in changes:
        record = records.get(change.record_id) if needs_reread(change) else None
        if record is None:
            reread.append(change)
            continue
        filled = _reread(change, record)
        owner = None if record.is_deleted else _named_account(record, account_fields.get(change.entity_name, ()))
        if owner is None or owner == change.account_id:
            reread.append(filled)
        else:
            reread += [_gone(change), replace(filled, account_id=owner, coalesced=(), records=(), scored_as_of=None)]
    return reread


def _reread(change: AccountChange, record: SalesforceRecord) -> AccountChange:
    """Return the change with the values of the record as it is now; event id and commit order stay the event's.

    Which values a GAP_UPDATE changed stays unknown, so `changed_fields` stays as it is; of a created or restored record
    all fields are changed. Empty fields are in `nulled_fields`; a value that its field can't hold is left out and
    flagged. `SystemModstamp` among the values tells the overlay how new they are. A deleted record turns the change
    into a GAP_DELETE.
    """
    if record.is_deleted:
        return _gone(change)
    given = {name: value for name, value in record.values.items() if value is not None}
    unusable = unusable_fields(change.entity_name, given)
    known = {name: value for name, value in given.items() if name not in unusable}
    new = tuple(sorted(given)) if change.change_type in WHOLE_RECORD_GAPS else ()
    return replace(
        change,
        values={**known, MODIFIED_FIELD: record.modified_at.isoformat()},
        nulled_fields=tuple(sorted(name for name, value in record.values.items() if value is None)),
        changed_fields=tuple(dict.fromkeys((*change.changed_fields, *new))),
        enriched={},  # they are older than the record
        records=_of_other_records(change),
        flags=tuple(sorted({*change.flags, *unusable_value_flags(change.entity_name, unusable)})),
    )


def _gone(change: AccountChange) -> AccountChange:
    nothing: dict[str, Any] = {"changed_fields": (), "nulled_fields": (), "values": {}, "enriched": {}}
    return replace(change, change_type=ChangeType.GAP_DELETE, records=_of_other_records(change), **nothing)


def _of_other_records(change: AccountChange) -> tuple[RecordValues, ...]:
    return tuple(record for record in change.records if record.record_id != change.record_id)


def _named_account(record: SalesforceRecord, account_fields: Iterable[str]) -> str | None:
    """Return the account that a related record names; fields that refer to other records do not count."""
    for name in account_fields:
        try:
            return normalize_account_id(str(record.values.get(name) or ""))
        except ValueError:
            continue
    return None


@dataclass
class RereadGaps(beam.PTransform):
    """Read the records of a batch's gaps, one query for each entity.

    Input: list of AccountChange. Outputs: the same (main), AccountChange of deleted accounts (`deleted`), and Outcome
    `received` of accounts that only the records name (`outcomes`).

    Without settings, or if Salesforce does not answer, gaps stay as they are, and the mirror's context is used.
    """

    salesforce: SalesforceSettings | None
    account_fields: AccountFields
    pipeline_version: str

    def expand(self, batches: beam.PCollection[Iterable[AccountChange]]) -> Any:
        """Read a batch's gaps together."""
        return batches | beam.ParDo(_Reread(self.salesforce, self.account_fields, self.pipeline_version)).with_outputs(
            DELETED, OUTCOMES, main=BATCHES
        )


class _Reread(beam.DoFn):
    def __init__(
        self, settings: SalesforceSettings | None, account_fields: AccountFields, pipeline_version: str
    ) -> None:
        self.settings = settings
        self.account_fields = account_fields
        self.ledger = Ledger(STAGE, pipeline_version)
        self.changes = Metrics.counter(STAGE, "changes_total")
        self.gaps = Metrics.counter(STAGE, "gaps_total")
        self.reread = Metrics.counter(STAGE, "reread_total")
        self.deleted = Metrics.counter(STAGE, "deleted_total")
        self.moved = Metrics.counter(STAGE, "moved_total")
        self.not_shown = Metrics.counter(STAGE, "not_shown_total")
        self.failed = Metrics.counter(STAGE, "reread_failed_total")
        self.circuit_open = Metrics.counter(STAGE, "circuit_open_total")
        self.read_milliseconds = Metrics.distribution(STAGE, "api_call_duration_milliseconds")

    def setup(self) -> None:
        self.salesforce: Salesforce | None = None
        if self.settings:
            from transforms.clients.salesforce import shared_salesforce  # noqa: PLC0415 - imports a SOAP stack

            self.salesforce = shared_salesforce(self.settings)

    def process(
        self, batch: Iterable[AccountChange]
    ) -> Iterator[list[AccountChange] | TaggedOutput[Literal["deleted"], AccountChange] | TaggedOutcome]:
        changes = list(batch)
        self.changes.inc(len(changes))
        if any(map(needs_reread, changes)):
            before = {(change.event_id, change.account_id) for change in changes}
            changes = reread_gaps(changes, self._records(changes), self.account_fields)
            for change in changes:
                if (change.event_id, change.account_id) not in before:
                    self.moved.inc()
                    yield TaggedOutput(OUTCOMES, self.ledger.outcome(Received.of(change), OutcomeKind.RECEIVED))
        living = []
        for change in changes:
            if is_gone(change):
                self.deleted.inc()
                yield TaggedOutput(DELETED, change)
            else:
                living.append(change)
        if living:
            yield living

    def _records(self, changes: Iterable[AccountChange]) -> dict[str, SalesforceRecord]:
        """Return the records of the gaps among the changes, as far as Salesforce has and shows them."""
        wanted: dict[str, set[str]] = {}
        for change in filter(needs_reread, changes):
            self.gaps.inc()
            wanted.setdefault(change.entity_name, set()).add(change.record_id)
        records: dict[str, SalesforceRecord] = {}
        for entity, record_ids in wanted.items():
            records |= self._read(entity, record_ids)
        return records

    def _read(self, entity: str, record_ids: set[str]) -> dict[str, SalesforceRecord]:
        if self.salesforce is None:
            self.failed.inc(len(record_ids))
            return {}
        started = time.monotonic()
        try:
            records = self.salesforce.read_records(entity, fields_to_read(entity, self.account_fields), record_ids)
        except SalesforceUnavailable as error:
            self.failed.inc(len(record_ids))
            self.circuit_open.inc(len(record_ids) if isinstance(error, SalesforceCircuitOpen) else 0)
            _log.warning(
                "gaps are not read again: the mirror's context is used",
                reason=str(error),
                entity=entity,
                gaps=len(record_ids),
            )
            return {}
        finally:
            self.read_milliseconds.update(int(1_000 * (time.monotonic() - started)))
        self.reread.inc(len(records))
        self.not_shown.inc(len(record_ids) - len(records))
        return records
