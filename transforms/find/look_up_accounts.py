"""Look up accounts: of the records that the stream's memory does not know, a batch at a time."""

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import apache_beam as beam
from apache_beam.metrics import Metrics

from schemas.change_event import AccountChange, AccountFields
from schemas.clock import Clock, utc_now
from schemas.record import to_json
from transforms.clients.bigquery import dataset_path
from transforms.clients.hold import Hold
from transforms.clients.outage import OutageGate, OutageSettings, ThrottledSeconds, shared_outage_gate
from transforms.clients.salesforce_api import RefusedCall, SalesforceSettings
from transforms.coders import RecordCoder
from transforms.errors import AccountNotNamed, RescoringError, SalesforceUnavailable, WarehouseUnavailable
from transforms.find.account_cache import AccountCache, shared_account_cache
from transforms.find.conclusions import Conclusions
from transforms.find.found_accounts import STAGE, Found, Source
from transforms.find.mirror_owners import MirrorOwners, shared_mirror_owners
from transforms.find.salesforce_owners import fields_to_read, owners
from transforms.find.sightings import BETWEEN, Wanted
from transforms.logs import get_logger
from transforms.outputs import DEAD_LETTERS, OUTCOMES, TaggedDeadLetter, TaggedOutcome

if TYPE_CHECKING:
    from transforms.clients.salesforce import Salesforce

CHANGES: Final = "changes"

MAX_BATCH: Final = 200
"""Records of one look-up."""

_LEVELS: Final = 2
"""An order's case, say, and the case's account: more records between are not followed."""

_log = get_logger(__name__)
_coder: Final = RecordCoder(Wanted)


@dataclass(frozen=True)
class LookUpSettings:
    """Where accounts are looked up."""

    project: str
    crm_dataset: str
    account_fields: AccountFields
    salesforce: SalesforceSettings | None = None
    outage: OutageSettings = field(default_factory=OutageSettings)


@dataclass
class LookUpAccounts(beam.PTransform):
    """Wanted → AccountChange (main), Outcome (`outcomes`), DeadLetter (`dead_letters`).

    Look-ups are batched: at most `max_batch_size`, after `max_wait_seconds` at the latest. A batch costs at most one
    query to the mirror, then one to Salesforce for each entity. While BigQuery or Salesforce does not answer, it is
    held; after the outage gate's deadline its changes become dead letters.
    """

    settings: LookUpSettings
    pipeline_version: str
    max_batch_size: int = MAX_BATCH
    max_wait_seconds: float = 1.0

    def expand(self, wanted: beam.PCollection[Wanted]) -> Any:
        """Batch over bundles, as bytes: the state of GroupIntoBatches pickles anything else."""
        encoded = wanted | "Encode look-ups" >> beam.Map(to_json).with_output_types(bytes)
        if wanted.is_bounded:
            size = self.max_batch_size
            batches = encoded | "Batch within a bundle" >> beam.BatchElements(size, size)
        else:
            batches = (
                encoded
                | "Key look-ups" >> beam.Map(lambda it: ("", it)).with_output_types(tuple[str, bytes])
                | "Group into batches"
                >> beam.GroupIntoBatches.WithShardedKey(
                    self.max_batch_size, max_buffering_duration_secs=self.max_wait_seconds
                )
                | "Drop key" >> beam.Values()
            )
        return batches | "Look up a batch" >> beam.ParDo(_LookUp(self, is_bounded=wanted.is_bounded)).with_outputs(
            OUTCOMES, DEAD_LETTERS, main=CHANGES
        )


def entities_of(wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Yield the records that are looked up for a change, each with its entity."""
    for record_id in wanted.looked_up:
        is_changed = record_id == wanted.change.record_id
        yield record_id, wanted.change.entity_name if is_changed else BETWEEN[record_id[:3]]


class _LookUp(beam.DoFn):
    def __init__(self, config: LookUpAccounts, now: Clock = utc_now, *, is_bounded: bool = False) -> None:
        self.settings = config.settings
        self.is_bounded = is_bounded
        self.hold: Hold | None = None
        self.now = now
        self.conclusions = Conclusions(config.pipeline_version)
        self.wanted = Metrics.counter(STAGE, "looked_up_total")
        self.cache_hits = Metrics.counter(STAGE, "cache_hits_total")
        self.queries = Metrics.counter(STAGE, "queries_total")
        self.query_milliseconds = Metrics.distribution(STAGE, "bigquery_query_duration_milliseconds")
        self.salesforce_queries = Metrics.counter(STAGE, "salesforce_queries_total")
        self.call_milliseconds = Metrics.distribution(STAGE, "api_call_duration_milliseconds")

    def setup(self) -> None:
        to = self.settings
        mirror = dataset_path(to.project, to.crm_dataset)
        self.mirror: MirrorOwners = shared_mirror_owners(to.project, to.crm_dataset)
        self.outage_gate: OutageGate = shared_outage_gate(f"BigQuery {mirror}", to.outage)
        self.cache: AccountCache = shared_account_cache(mirror)
        self.throttled = ThrottledSeconds(STAGE)
        self.salesforce: Salesforce | None = None
        if to.salesforce:
            from transforms.clients.salesforce import shared_salesforce  # noqa: PLC0415 - imports a SOAP stack

            self.salesforce = shared_salesforce(to.salesforce)
            self.salesforce_gate: OutageGate = shared_outage_gate(
                f"Salesforce {to.salesforce.login_url}", to.outage, SalesforceUnavailable
            )

    def start_bundle(self) -> None:
        self.hold = self.outage_gate.bundle_hold(is_bounded=self.is_bounded)

    def process(self, batch: Iterable[bytes]) -> Iterator[AccountChange | TaggedOutcome | TaggedDeadLetter]:
        changes: list[Wanted] = [_coder.decode(encoded) for encoded in batch]
        self.wanted.inc(len(changes))
        entities = {it: entity for wanted in changes for it, entity in entities_of(wanted)}
        needed = {it for wanted in changes for it in wanted.record_ids}
        found, faults = self._found(entities, needed, levels=_LEVELS)
        for wanted in changes:
            yield from self.conclusions.of(wanted, found, faults)

    def _found(
        self, entities: Mapping[str, str], needed: Collection[str], *, levels: int
    ) -> tuple[dict[str, Found], dict[str, RescoringError]]:
        """Return the accounts of records, and why some could not be looked for.

        Args:
            entities: The records to look up, each with its entity.
            needed: Those of them for which Salesforce is asked; the others are only in question if the mirror knows.
            levels: So many records may stand between a record and its account, itself included.
        """
        found = self.cache.get(entities)
        self.cache_hits.inc(len(found))
        missing = [record_id for record_id in entities if record_id not in found]
        if not missing:
            return found, {}
        try:
            mirrored = self.outage_gate.call(lambda: self._ask_mirror(missing), self.throttled, self.hold)
        except WarehouseUnavailable as error:
            return found, dict.fromkeys(missing, error)
        left = {it: entities[it] for it in missing if it in needed and it not in mirrored}
        read, faults = self._in_salesforce(self.salesforce, left, levels) if left and self.salesforce else ({}, {})
        self.cache.keep(mirrored | read)
        return found | mirrored | read, faults

    def _ask_mirror(self, record_ids: Collection[str]) -> dict[str, Found]:
        started = self.now()
        try:
            accounts, queries = self.mirror.find(record_ids)
        finally:
            self.query_milliseconds.update(int((self.now() - started) / dt.timedelta(milliseconds=1)))
        self.queries.inc(queries)
        return {record_id: Found(account_id, Source.MIRROR) for record_id, account_id in accounts.items()}

    def _in_salesforce(
        self, salesforce: "Salesforce", entities: Mapping[str, str], levels: int
    ) -> tuple[dict[str, Found], dict[str, RescoringError]]:
        """Return the accounts of records that Salesforce has; those of records between are looked up in turn."""
        named, faults = dict[str, str | None](), dict[str, RescoringError]()
        for entity in sorted(set(entities.values())):
            ids = [record_id for record_id, it in entities.items() if it == entity]
            try:
                named |= self._ask_salesforce(salesforce, entity, ids)
            except SalesforceUnavailable as error:
                fault = AccountNotNamed(f"the event names no account, and {error}: replay it when Salesforce answers")
                faults |= dict.fromkeys(ids, fault)
        between = {it: BETWEEN[it[:3]] for it in named.values() if it and it[:3] in BETWEEN}
        further, their_faults = self._found(between, between, levels=levels - 1) if between and levels else ({}, {})
        found = {}
        for record_id, owner in named.items():
            if owner not in between:
                found[record_id] = Found(owner, Source.SALESFORCE)
            elif owner in further:
                found[record_id] = further[owner]
            elif owner in their_faults:
                faults[record_id] = their_faults[owner]
        return found, faults

    def _ask_salesforce(
        self, salesforce: "Salesforce", entity: str, record_ids: Collection[str]
    ) -> dict[str, str | None]:
        """Return what records of one entity name; none if the user may not read the entity or its fields.

        Raises:
            SalesforceUnavailable: Salesforce did not answer, for as long as work is held.
        """
        started = self.now()
        fields = fields_to_read(entity, self.settings.account_fields)

        def ask() -> dict[str, str | None]:
            self.salesforce_queries.inc()
            try:
                return owners(salesforce.read_records(entity, fields, record_ids), fields)
            except RefusedCall as refusal:
                if not refusal.is_unreadable:
                    raise
                _log.warning("records are not looked up in Salesforce", entity=entity, reason=str(refusal))
                return {}

        try:
            return self.salesforce_gate.call(ask, self.throttled, self.hold)
        finally:
            self.call_milliseconds.update(int((self.now() - started) / dt.timedelta(milliseconds=1)))
