"""Reread gaps: read the accounts of gap events from Salesforce, since such an event has no field values."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from msgspec.structs import replace

from schemas.change_event import ACCOUNT_ENTITY, WHOLE_RECORD_GAPS, AccountChange, ChangeType
from schemas.salesforce_fields import MODIFIED_FIELD
from transforms.clients.salesforce_api import AccountRecord, SalesforceCircuitOpen, SalesforceSettings
from transforms.errors import SalesforceUnavailable
from transforms.logs import get_logger

if TYPE_CHECKING:
    from transforms.clients.salesforce import Salesforce

STAGE: Final = "Reread gaps"
BATCHES: Final = "batches"
DELETED: Final = "deleted"

_REREAD: Final = frozenset({ChangeType.GAP_CREATE, ChangeType.GAP_UPDATE, ChangeType.GAP_UNDELETE})

_log = get_logger(__name__)


def needs_reread(change: AccountChange) -> bool:
    """Whether a change is a gap event of an existing account that was not reread yet.

    Values are no sign of that: they can come from an update in the same burst.
    """
    return (
        change.entity_name == ACCOUNT_ENTITY and change.change_type in _REREAD and MODIFIED_FIELD not in change.values
    )


def is_gone(change: AccountChange) -> bool:
    """Whether a change says that its account was deleted."""
    return change.entity_name == ACCOUNT_ENTITY and change.change_type is ChangeType.GAP_DELETE


def reread_gaps(changes: Sequence[AccountChange], records: Mapping[str, AccountRecord]) -> list[AccountChange]:
    """Return the changes in their order, gaps with the values of their records.

    A gap without a record stays as it is: the record may be hidden from this service, or purged; a purge has a DELETE
    event of its own.
    """
    return [
        _reread(change, records[change.account_id]) if needs_reread(change) and change.account_id in records else change
        for change in changes
    ]


def _reread(change: AccountChange, record: AccountRecord) -> AccountChange:
    """Return the change with the values of the record as it is now; event id and commit order stay the event's.

    Which values a GAP_UPDATE changed stays unknown, so `changed_fields` stays as it is; of a created or restored record
    all fields are changed. Empty fields are in `nulled_fields`. `SystemModstamp` among the values tells the overlay how
    new they are. A deleted record turns the change into a GAP_DELETE.
    """
    if record.is_deleted:
        nothing: dict[str, Any] = {"changed_fields": (), "nulled_fields": (), "values": {}, "enriched": {}}
        return replace(change, change_type=ChangeType.GAP_DELETE, **nothing)
    known = {name: value for name, value in record.values.items() if value is not None}
    new = tuple(sorted(known)) if change.change_type in WHOLE_RECORD_GAPS else ()
    return replace(
        change,
        values={**known, MODIFIED_FIELD: record.modified_at.isoformat()},
        nulled_fields=tuple(sorted(name for name, value in record.values.items() if value is None)),
        changed_fields=tuple(dict.fromkeys((*change.changed_fields, *new))),
        enriched={},  # they are older than the record
    )


@dataclass
class RereadGaps(beam.PTransform):
    """list of AccountChange → the same (main), AccountChange of deleted accounts (`deleted`); one query a batch.

    Without settings, or if Salesforce does not answer, gaps stay as they are, and the mirror's context is used.
    """

    salesforce: SalesforceSettings | None

    def expand(self, batches: beam.PCollection[Iterable[AccountChange]]) -> Any:
        """Read a batch's gaps together."""
        return batches | beam.ParDo(_Reread(self.salesforce)).with_outputs(DELETED, main=BATCHES)


class _Reread(beam.DoFn):
    def __init__(self, settings: SalesforceSettings | None) -> None:
        self.settings = settings
        self.changes = Metrics.counter(STAGE, "changes_total")
        self.gaps = Metrics.counter(STAGE, "gaps_total")
        self.reread = Metrics.counter(STAGE, "reread_total")
        self.deleted = Metrics.counter(STAGE, "deleted_total")
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
    ) -> Iterator[list[AccountChange] | TaggedOutput[Literal["deleted"], AccountChange]]:
        changes = list(batch)
        self.changes.inc(len(changes))
        gaps = [change for change in changes if needs_reread(change)]
        if gaps:
            changes = self._filled(changes, gaps)
        living = []
        for change in changes:
            if is_gone(change):
                self.deleted.inc()
                yield TaggedOutput(DELETED, change)
            else:
                living.append(change)
        if living:
            yield living

    def _filled(self, changes: list[AccountChange], gaps: list[AccountChange]) -> list[AccountChange]:
        self.gaps.inc(len(gaps))
        if self.salesforce is None:
            self.failed.inc(len(gaps))
            return changes
        started = time.monotonic()
        try:
            records = self.salesforce.read_accounts({gap.account_id for gap in gaps})
        except SalesforceUnavailable as error:
            self.failed.inc(len(gaps))
            self.circuit_open.inc(len(gaps) if isinstance(error, SalesforceCircuitOpen) else 0)
            _log.warning("gaps are not read again: the mirror's context is used", reason=str(error), gaps=len(gaps))
            return changes
        finally:
            self.read_milliseconds.update(int(1_000 * (time.monotonic() - started)))
        shown = sum(gap.account_id in records for gap in gaps)
        self.reread.inc(shown)
        self.not_shown.inc(len(gaps) - shown)
        return reread_gaps(changes, records)
