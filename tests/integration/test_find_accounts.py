"""Finding accounts in the mirror, with the real client: which tables it has, and what they say."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apache_beam.pvalue import TaggedOutput
from structlog.testing import capture_logs

from pipeline.local.crm.generator import generate_crm
from pipeline.local.stack import PROJECT, load_crm
from pipeline.resources.names import CRM_DATASET
from schemas.change_event import AccountChange
from schemas.dead_letter import DeadLetter
from schemas.failures import ErrorClass
from schemas.outcome import Outcome
from schemas.record import to_json
from schemas.salesforce_ids import normalize_record_id
from schemas.tables import CONTACTS
from tests.fixtures.changes import ACCOUNT_FIELDS, COMMITTED_AT, account_id
from tests.fixtures.related_records import CONTACT, TASK, unnamed
from tests.integration.salesforce_stand_in import Fault, SalesforceStandIn, settings_for, trusted_stand_in
from transforms.clients.bigquery import Warehouse
from transforms.clients.outage import OutageGate, OutageSettings
from transforms.clients.salesforce import Salesforce
from transforms.errors import SalesforceUnavailable
from transforms.find.account_cache import AccountCache
from transforms.find.look_up_accounts import LookUpAccounts, LookUpSettings, _LookUp
from transforms.find.mirror_owners import MirrorOwners
from transforms.find.sightings import Wanted

CRM = generate_crm(accounts=40, seed=5, as_of=COMMITTED_AT)
NOW = COMMITTED_AT + dt.timedelta(minutes=1)


@pytest.fixture(scope="module")
def mirrored(warehouse: Warehouse) -> Warehouse:
    """Return the warehouse with a CRM of 40 accounts."""
    load_crm(warehouse, CRM)
    return warehouse


@pytest.fixture
def without_contacts(mirrored: Warehouse) -> Iterator[Warehouse]:
    """Return the warehouse, whose mirror lacks the table of contacts."""
    mirrored.query(f"DROP TABLE `{PROJECT}.{CRM_DATASET}.{CONTACTS.name}`")
    yield mirrored
    mirrored.create_table(CRM_DATASET, CONTACTS)
    mirrored.replace_rows(CRM_DATASET, CONTACTS, CRM.contacts)


def test_every_related_record_of_the_mirror_is_found(mirrored: Warehouse) -> None:
    """With one query; those of other objects are not."""
    expected = {it.opportunity_id: it.account_id for it in CRM.opportunities}
    expected |= {it.contact_id: it.account_id for it in CRM.contacts}
    found, queries = MirrorOwners(mirrored, CRM_DATASET).find([*expected, TASK, CONTACT])
    assert found == expected
    assert queries == 1


def test_a_mirror_without_contacts_finds_the_others(without_contacts: Warehouse) -> None:
    """Contacts are not found there, with one warning."""
    contact, deal = CRM.contacts[0].contact_id, CRM.opportunities[0]
    mirror = MirrorOwners(without_contacts, CRM_DATASET)
    with capture_logs() as logs:
        for _ in range(2):
            found, _ = mirror.find([contact, deal.opportunity_id])
            assert found == {deal.opportunity_id: deal.account_id}
    assert [log["table"] for log in logs] == ["contacts"]


def test_the_step_finds_accounts_with_the_real_client(mirrored: Warehouse) -> None:
    """A batch of changes goes on with the mirror's accounts; what the mirror lacks is a dead letter."""
    del mirrored  # it is there
    deal, contact = CRM.opportunities[0], CRM.contacts[0]
    step = _LookUp(LookUpAccounts(LookUpSettings(PROJECT, CRM_DATASET, ACCOUNT_FIELDS), "1"))
    step.setup()
    step.cache = AccountCache()
    ids = (deal.opportunity_id, contact.contact_id, CONTACT)
    batch = [
        to_json(Wanted(change=unnamed(number, record_id), record_ids=(record_id,)))
        for number, record_id in enumerate(ids)
    ]
    outputs = list(step.process(batch))
    assert [it.account_id for it in outputs if isinstance(it, AccountChange)] == [deal.account_id, contact.account_id]
    tagged = [it.value for it in outputs if isinstance(it, TaggedOutput)]
    assert [it.record_id for it in tagged if isinstance(it, DeadLetter)] == [CONTACT]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SalesforceStandIn]:
    """Return a running stand-in for Salesforce."""
    with trusted_stand_in(tmp_path, monkeypatch) as started:
        yield started


class _Step:
    """The step over the mirror and a stand-in for Salesforce, with a cache of its own."""

    def __init__(self, stand_in: SalesforceStandIn, deadline_seconds: float = 60) -> None:
        settings = settings_for(stand_in, circuit_failures=10**6)
        self.step = _LookUp(LookUpAccounts(LookUpSettings(PROJECT, CRM_DATASET, ACCOUNT_FIELDS), "1"))
        self.step.setup()
        self.step.cache = AccountCache()
        self.step.salesforce = Salesforce(settings)
        outage = OutageSettings(deadline_seconds=deadline_seconds, probe_seconds=0.05)
        self.step.salesforce_gate = OutageGate("Salesforce", outage, SalesforceUnavailable)

    def __call__(self, *record_ids: str, **fields: Any) -> tuple[list[str], list[Outcome], list[DeadLetter]]:
        batch = [
            to_json(Wanted(change=unnamed(number, record_id, **fields), record_ids=(record_id,)))
            for number, record_id in enumerate(record_ids)
        ]
        outputs = list(self.step.process(batch))
        tagged = [it.value for it in outputs if isinstance(it, TaggedOutput)]
        return (
            [it.account_id for it in outputs if isinstance(it, AccountChange)],
            [it for it in tagged if isinstance(it, Outcome)],
            [it for it in tagged if isinstance(it, DeadLetter)],
        )


DEAL = normalize_record_id("006000000000077")
TASKS = [normalize_record_id(f"00T{number:012d}") for number in range(1, 4)]


def test_salesforce_is_asked_for_what_the_mirror_lacks(mirrored: Warehouse, stand_in: SalesforceStandIn) -> None:
    """One query for each entity, deleted records included; the next time the cache answers."""
    del mirrored  # it is there
    stand_in.add(DEAL, "Opportunity", AccountId=account_id(7), IsDeleted=True)
    stand_in.add(TASKS[0], "Task", AccountId=account_id(8)[:15], WhatId=None)
    step = _Step(stand_in)
    for _ in range(2):
        accounts, outcomes, _ = step(CRM.contacts[0].contact_id, DEAL, TASKS[0])
        assert accounts == [CRM.contacts[0].account_id, account_id(7), account_id(8)]
        assert [it.stage.partition(": ")[2] for it in outcomes] == ["mirror", "salesforce", "salesforce"]
    assert len(stand_in.queries) == 2


def test_a_task_is_followed_to_the_account_of_what_it_is_about(
    mirrored: Warehouse, stand_in: SalesforceStandIn
) -> None:
    """The mirror knows the opportunity, or Salesforce does; a task about nothing has no account."""
    del mirrored  # it is there
    known = CRM.opportunities[0]
    stand_in.add(TASKS[0], "Task", AccountId=None, WhatId=known.opportunity_id)
    stand_in.add(TASKS[1], "Task", AccountId=None, WhatId=DEAL)
    stand_in.add(DEAL, "Opportunity", AccountId=account_id(7))
    stand_in.add(TASKS[2], "Task", AccountId=None, WhatId=None)
    accounts, outcomes, dead_letters = _Step(stand_in)(*TASKS)
    assert accounts == [known.account_id, account_id(7)]
    assert [(it.outcome, it.reason) for it in outcomes[2:]] == [("skipped", "no_account")]
    assert dead_letters == []


def test_a_record_that_salesforce_does_not_show_is_not_found(mirrored: Warehouse, stand_in: SalesforceStandIn) -> None:
    """A dead letter that a replay can mend; of a gap event, a resync is requested."""
    del mirrored  # it is there
    _, _, (dead_letter,) = _Step(stand_in)(TASKS[0])
    assert dead_letter.error_class is ErrorClass.ACCOUNT_NOT_NAMED
    _, (outcome,), _ = _Step(stand_in)(TASKS[0], change_type="GAP_UPDATE")
    assert outcome.outcome == "resync_requested"


def test_an_entity_that_may_not_be_read_does_not_stop_the_others(
    mirrored: Warehouse, stand_in: SalesforceStandIn
) -> None:
    """Salesforce refuses the whole query for a hidden field: these records are not found, nothing is held."""
    del mirrored  # it is there
    stand_in.add(DEAL, "Opportunity", AccountId=account_id(7))
    stand_in.add(TASKS[0], "Task", AccountId=account_id(8))
    stand_in.unreadable_fields = {"WhatId"}
    accounts, _, dead_letters = _Step(stand_in)(DEAL, TASKS[0])
    assert accounts == [account_id(7)]
    assert [it.record_id for it in dead_letters] == [TASKS[0]]


def test_a_failing_salesforce_is_waited_for(mirrored: Warehouse, stand_in: SalesforceStandIn) -> None:
    """Work is held, and goes on when it answers; after the deadline the dead letter says that it did not."""
    del mirrored  # it is there
    stand_in.add(DEAL, "Opportunity", AccountId=account_id(7))
    stand_in.query_faults = [Fault(403, "API_DISABLED_FOR_ORG", times=2)]
    assert _Step(stand_in)(DEAL)[0] == [account_id(7)]
    stand_in.query_faults = [Fault(403, "API_DISABLED_FOR_ORG", times=10**6)]
    accounts, _, (dead_letter,) = _Step(stand_in, deadline_seconds=0.1)(DEAL)
    assert accounts == []
    assert dead_letter.error_class is ErrorClass.ACCOUNT_NOT_NAMED
    assert "replay it when Salesforce answers" in dead_letter.error_message
