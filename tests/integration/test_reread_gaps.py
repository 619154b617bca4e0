"""Gaps are read again through simple_salesforce from the stand-in, and no secret is logged."""

import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.internal import pickler
from apache_beam.metrics import MetricsFilter
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that

import transforms.coders  # noqa: F401 - registers how the models travel
from schemas.change_event import AccountChange, ChangeType
from schemas.outcome import Outcome, OutcomeKind
from schemas.salesforce_fields import PROFILE_FIELDS
from tests.fixtures.changes import ACCOUNT_FIELDS, account_id, change, context
from tests.fixtures.planted_secrets import SALESFORCE_CLIENT_SECRET
from tests.integration.salesforce_stand_in import (
    IDS,
    VARIABLE,
    Fault,
    SalesforceStandIn,
    secrets_of,
    settings_for,
    trusted_stand_in,
)
from transforms.clients.salesforce import MAX_ATTEMPTS, Salesforce
from transforms.clients.salesforce_api import AuthFlow, SalesforceSettings
from transforms.enrich import reread_gaps
from transforms.enrich.context_overlay import overlay
from transforms.enrich.reread_gaps import RereadGaps
from transforms.errors import SalesforceUnavailable
from transforms.outputs import OUTCOMES

Check = Callable[[list[Any]], None]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SalesforceStandIn]:
    """Return a running stand-in with three accounts."""
    with trusted_stand_in(tmp_path, monkeypatch) as started:
        yield started


def _gap(number: int, kind: ChangeType = ChangeType.GAP_UPDATE, **fields: Any) -> AccountChange:
    return change(number, **{"change_type": kind, "changed_fields": (), "values": {}} | fields)


def _equal_to(expected: list[Any]) -> Check:
    def check(found: list[Any]) -> None:
        assert found == expected

    return check


def _run(
    settings: SalesforceSettings | None,
    batch: list[AccountChange],
    batches: Check,
    deleted: Check,
    received: Sequence[str] = (),
) -> dict[str, int]:
    """Run the step over one batch, check its outputs, and return its counters that are not 0.

    `received` are the accounts that only records name.
    """

    def check_outcomes(found: list[Outcome]) -> None:
        assert [(it.account_id, it.outcome) for it in found] == [(it, OutcomeKind.RECEIVED) for it in received]

    pipeline = TestPipeline(runner=FnApiRunner())
    results = pipeline | beam.Create([batch]) | RereadGaps(settings, ACCOUNT_FIELDS, "1")
    assert_that(results[reread_gaps.BATCHES], batches, label="batches")
    assert_that(results[reread_gaps.DELETED], deleted, label="deleted")
    assert_that(results[OUTCOMES], check_outcomes, label="outcomes")
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter().with_namespace(reread_gaps.STAGE))["counters"]
    return {counter.key.metric.name: counter.committed for counter in counters if counter.committed}


def test_gaps_are_filled_and_other_changes_stay(stand_in: SalesforceStandIn) -> None:
    """One query fills the gaps of a batch; a deleted record becomes a deletion; gaps of hidden records stay."""
    stand_in.add(IDS[0], Name="Renamed", Rating=None)
    stand_in.add(IDS[1], IsDeleted=True, Name="Gone")
    del stand_in.records[IDS[2]]
    contact = change(8, entity_name="Contact", record_id="003ak00000IiFInAAN")
    batch = [change(7), _gap(0), _gap(1), _gap(2), contact]

    def check_batches(batches: list[list[AccountChange]]) -> None:
        ((update, filled, hidden, other),) = batches
        assert [update, hidden, other] == [batch[0], batch[3], batch[4]]
        assert (filled.values["Name"], "Rating" in filled.nulled_fields) == ("Renamed", True)
        assert (filled.event_id, filled.order) == (batch[1].event_id, batch[1].order)
        assert overlay(context(0), filled).profile.name == "Renamed"

    def check_deleted(deleted: list[AccountChange]) -> None:
        (gone,) = deleted
        assert (gone.event_id, gone.change_type) == (batch[2].event_id, ChangeType.GAP_DELETE)
        assert (gone.values, gone.enriched, gone.changed_fields) == ({}, {}, ())

    counted = _run(settings_for(stand_in), batch, check_batches, check_deleted)
    assert counted == {"changes_total": 5, "gaps_total": 3, "reread_total": 2, "not_shown_total": 1, "deleted_total": 1}
    (soql,) = stand_in.queries
    assert all(record_id in soql for record_id in IDS)
    assert account_id(7) not in soql


OPPORTUNITY, CASE, CONTACT = "006ak00000IiFInAAN", "500ak00000IiFInAAN", "003ak00000IiFInAAN"


def test_related_records_are_read_by_entity(stand_in: SalesforceStandIn) -> None:
    """One query for each entity; one that Salesforce refuses leaves its gaps as they are. A moved record has two
    accounts, and the second one is received.
    """
    stand_in.add(OPPORTUNITY, "Opportunity", AccountId=account_id(5), StageName="Closed Won")
    stand_in.add(CONTACT, "Contact", AccountId=account_id(6))
    stand_in.unreadable_fields = {"WhatId"}
    won = _gap(5, entity_name="Opportunity", record_id=OPPORTUNITY)
    moved = _gap(7, entity_name="Contact", record_id=CONTACT, event_id="b" * 32)
    task = _gap(8, entity_name="Task", record_id=CASE, event_id="c" * 32)

    def check_batches(batches: list[list[AccountChange]]) -> None:
        ((filled, left, joined, same),) = batches
        assert (filled.account_id, filled.values["StageName"]) == (account_id(5), "Closed Won")
        assert (left.account_id, left.change_type) == (account_id(7), ChangeType.GAP_DELETE)
        assert (joined.account_id, joined.event_id) == (account_id(6), moved.event_id)
        assert same == task

    counted = _run(settings_for(stand_in), [won, moved, task], check_batches, _equal_to([]), [account_id(6)])
    assert counted == {
        "changes_total": 3,
        "gaps_total": 3,
        "reread_total": 2,
        "reread_failed_total": 1,
        "moved_total": 1,
    }
    assert [query.split(" FROM ")[1].split(" ")[0] for query in stand_in.queries] == ["Opportunity", "Contact", "Task"]


def test_a_batch_without_gaps_does_not_log_in(stand_in: SalesforceStandIn) -> None:
    """Salesforce gets no request if no record must be read again."""
    batch = [change(1), change(2)]
    _run(settings_for(stand_in), batch, _equal_to([batch]), _equal_to([]))
    assert stand_in.logins == 0


@pytest.mark.parametrize("failing", ["without settings", "refused"])
def test_without_an_answer_gaps_stay_as_they_are(stand_in: SalesforceStandIn, failing: str) -> None:
    """If Salesforce is not configured or refuses, the mirror's context is used, and the gaps are counted."""
    stand_in.query_faults = [Fault(403, "API_DISABLED_FOR_ORG", times=99)]
    batch = [_gap(0), change(1), _gap(2)]
    settings = settings_for(stand_in) if failing == "refused" else None
    counted = _run(settings, batch, _equal_to([batch]), _equal_to([]))
    assert counted == {"changes_total": 3, "gaps_total": 2, "reread_failed_total": 2}


def test_an_open_circuit_is_counted(stand_in: SalesforceStandIn) -> None:
    """Batches do not wait for an open circuit, and a counter has their gaps."""
    settings = settings_for(stand_in, circuit_failures=1, circuit_reset_seconds=3600)
    stand_in.query_faults = [Fault(403, "API_DISABLED_FOR_ORG", times=99)]
    _run(settings, [_gap(0)], _equal_to([[_gap(0)]]), _equal_to([]))
    counted = _run(settings, [_gap(1)], _equal_to([[_gap(1)]]), _equal_to([]))
    assert counted == {"changes_total": 1, "gaps_total": 1, "reread_failed_total": 1, "circuit_open_total": 1}
    assert len(stand_in.queries) == 1


FAULTS = [
    Fault(400, "invalid_grant"),
    Fault(401, "INVALID_SESSION_ID", times=2),
    Fault(403, "REQUEST_LIMIT_EXCEEDED", times=MAX_ATTEMPTS),
    Fault(403, f"a sentence with {SALESFORCE_CLIENT_SECRET} for a code"),
    Fault(200, kind="no_json"),
    Fault(200, kind="other_json"),
    Fault(200, kind="cut_off", times=MAX_ATTEMPTS),
    Fault(307, kind="redirect"),
]


@pytest.mark.parametrize("flow", list(AuthFlow))
def test_secrets_and_sessions_stay_hidden(
    stand_in: SalesforceStandIn,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    flow: AuthFlow,
) -> None:
    """No log, traceback, repr or pickled step has secrets or sessions, although Salesforce's refusals quote them."""
    if flow is AuthFlow.JWT_BEARER:
        monkeypatch.setenv(VARIABLE, stand_in.private_key)
    settings = settings_for(stand_in, flow=flow, circuit_failures=99)
    salesforce = Salesforce(settings)
    texts = [repr(settings), str(settings), repr(salesforce), repr(RereadGaps(settings, ACCOUNT_FIELDS, "1"))]
    with caplog.at_level(logging.DEBUG):
        for at in ("query_faults", "login_faults"):
            for fault in FAULTS:
                setattr(stand_in, at, [fault])
                with pytest.raises(SalesforceUnavailable) as refusal:
                    Salesforce(settings).read_records("Account", PROFILE_FIELDS, IDS)
                texts += [repr(refusal.value), *traceback.format_exception(refusal.value)]
                setattr(stand_in, at, [])
        salesforce.read_records("Account", PROFILE_FIELDS, IDS)
        stand_in.query_faults = [Fault(403, "API_DISABLED_FOR_ORG")]
        step = reread_gaps._Reread(settings, ACCOUNT_FIELDS, "1")
        step.setup()
        list(step.process([_gap(0)]))
    captured = capfd.readouterr()
    texts += [caplog.text, captured.out, captured.err]
    text = "\n".join(texts)
    assert "API_DISABLED_FOR_ORG" in text
    assert len(stand_in.issued) > 1
    assert [secret for secret in secrets_of(stand_in) if secret in text] == []
    # The step names the consumer key and the user to its workers, and no secret.
    pickled = pickler.dumps(RereadGaps(settings, ACCOUNT_FIELDS, "1"), enable_trace=False, use_zlib=False)
    for secret in (SALESFORCE_CLIENT_SECRET, *stand_in.private_key.splitlines()[1:-1]):
        assert secret.encode() not in pickled
