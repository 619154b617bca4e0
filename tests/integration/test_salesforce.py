"""Reading records through simple_salesforce against the stand-in: records, and a class for each failure."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from schemas.salesforce_fields import PROFILE_FIELDS
from tests.fixtures.changes import account_id
from tests.integration.salesforce_stand_in import (
    IDS,
    VARIABLE,
    Fault,
    SalesforceStandIn,
    settings_for,
    trusted_stand_in,
)
from transforms.clients.salesforce import MAX_ATTEMPTS, Salesforce
from transforms.clients.salesforce_api import (
    AuthFlow,
    ConnectionFailed,
    InvalidAnswer,
    RefusedCall,
    SalesforceCircuitOpen,
    SalesforceTimeout,
    SessionExpired,
)
from transforms.clients.secrets import SecretUnavailable
from transforms.errors import SalesforceUnavailable

Connect = Callable[..., Salesforce]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SalesforceStandIn]:
    """Return a running stand-in with three accounts."""
    with trusted_stand_in(tmp_path, monkeypatch) as started:
        yield started


@pytest.fixture
def connect(stand_in: SalesforceStandIn) -> Connect:
    """Return a function that creates a session with the stand-in."""
    return lambda **fields: Salesforce(settings_for(stand_in, **fields))


def test_a_batch_is_one_query(stand_in: SalesforceStandIn, connect: Connect) -> None:
    """Repeated ids are read once, in one query; a second batch uses the same session."""
    salesforce = connect()
    records = salesforce.read_records("Account", PROFILE_FIELDS, [*IDS, *IDS])
    assert {record.values["Name"] for record in records.values()} == {"Company 0", "Company 1", "Company 2"}
    assert sorted(records) == sorted(IDS)
    salesforce.read_records("Account", PROFILE_FIELDS, IDS[:1])
    assert (stand_in.logins, len(stand_in.queries)) == (1, 2)


def test_a_large_batch_is_read_in_parts_and_pages(stand_in: SalesforceStandIn, connect: Connect) -> None:
    """More ids than a URL holds take several queries, and every page of a result is read."""
    ids = [account_id(number) for number in range(250)]
    for record_id in ids:
        stand_in.add(record_id, Name="Company")
    stand_in.page_size = 90
    assert sorted(connect().read_records("Account", PROFILE_FIELDS, ids)) == sorted(ids)
    assert len(stand_in.queries) == 2


def test_a_page_on_another_host_is_not_followed(stand_in: SalesforceStandIn, connect: Connect) -> None:
    """The session id is not sent to another host, whatever URL a result gives for its next page."""
    stand_in.page_size, stand_in.next_page = 1, "@example.com/{start}"
    with pytest.raises(InvalidAnswer):
        connect().read_records("Account", PROFILE_FIELDS, IDS)


def test_jwt_bearer_logs_in(stand_in: SalesforceStandIn, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in verifies the assertion's signature, issuer, user and audience."""
    monkeypatch.setenv(VARIABLE, stand_in.private_key)
    assert set(connect(flow=AuthFlow.JWT_BEARER).read_records("Account", PROFILE_FIELDS, IDS)) == set(IDS)
    with pytest.raises(RefusedCall, match="invalid_grant"):
        connect(flow=AuthFlow.JWT_BEARER, username="somebody@example.com").read_records("Account", PROFILE_FIELDS, IDS)


def test_an_expired_session_costs_one_login(stand_in: SalesforceStandIn, connect: Connect) -> None:
    """A session that ended between two reads is replaced, and the read succeeds."""
    salesforce = connect()
    salesforce.read_records("Account", PROFILE_FIELDS, IDS)
    stand_in.expire_sessions()
    assert set(salesforce.read_records("Account", PROFILE_FIELDS, IDS)) == set(IDS)
    assert stand_in.logins == 2


def test_a_new_session_that_is_refused_is_not_replaced(stand_in: SalesforceStandIn, connect: Connect) -> None:
    """A read that Salesforce refuses again after one new login fails."""
    stand_in.query_faults = [Fault(401, "INVALID_SESSION_ID", times=99)]
    with pytest.raises(SessionExpired):
        connect().read_records("Account", PROFILE_FIELDS, IDS)
    assert stand_in.logins == 2


@pytest.mark.parametrize(
    "fault",
    [
        Fault(500, "UNKNOWN_EXCEPTION"),
        Fault(503, "SERVER_UNAVAILABLE"),
        Fault(403, "REQUEST_LIMIT_EXCEEDED"),
        Fault(503, kind="no_json"),
        Fault(kind="cut_off"),
    ],
)
@pytest.mark.parametrize("at", ["login_faults", "query_faults"])
def test_transient_faults_are_retried(stand_in: SalesforceStandIn, connect: Connect, fault: Fault, at: str) -> None:
    """A server fault, a limit and a broken connection are retried, at the login and at the query."""
    setattr(stand_in, at, [fault, fault])
    assert set(connect().read_records("Account", PROFILE_FIELDS, IDS)) == set(IDS)


def test_attempts_are_bounded(stand_in: SalesforceStandIn, connect: Connect) -> None:
    """A fault that persists fails the read after MAX_ATTEMPTS."""
    stand_in.query_faults = [Fault(503, "SERVER_UNAVAILABLE", times=99)]
    with pytest.raises(RefusedCall, match="SERVER_UNAVAILABLE"):
        connect().read_records("Account", PROFILE_FIELDS, IDS)
    assert len(stand_in.queries) == MAX_ATTEMPTS


@pytest.mark.parametrize(
    ("at", "fault", "expected"),
    [
        ("login_faults", Fault(400, "invalid_grant"), RefusedCall),
        ("login_faults", Fault(307, kind="redirect"), RefusedCall),
        ("login_faults", Fault(200, kind="no_json"), InvalidAnswer),
        ("login_faults", Fault(200, kind="other_json"), InvalidAnswer),
        ("query_faults", Fault(403, "API_DISABLED_FOR_ORG"), RefusedCall),
        ("query_faults", Fault(404, "NOT_FOUND"), RefusedCall),
        ("query_faults", Fault(200, kind="no_json"), InvalidAnswer),
        ("query_faults", Fault(200, kind="other_json"), InvalidAnswer),
    ],
)
def test_lasting_faults_end_the_read(
    stand_in: SalesforceStandIn, connect: Connect, at: str, fault: Fault, expected: type[SalesforceUnavailable]
) -> None:
    """A fault that a retry would meet again fails the read at once, with its class."""
    setattr(stand_in, at, [fault])
    with pytest.raises(expected):
        connect().read_records("Account", PROFILE_FIELDS, IDS)
    assert (stand_in.logins, len(stand_in.queries)) == (1, 0 if at == "login_faults" else 1)


def test_an_unreadable_field_is_the_reason_of_the_refusal(stand_in: SalesforceStandIn, connect: Connect) -> None:
    """Salesforce refuses a query because of one unreadable field; once it is readable it answers."""
    stand_in.unreadable_fields = {"AnnualRevenue"}
    with pytest.raises(RefusedCall, match="INVALID_FIELD"):
        connect().read_records("Account", PROFILE_FIELDS, IDS)
    stand_in.unreadable_fields = set()
    assert set(connect().read_records("Account", PROFILE_FIELDS, IDS)) == set(IDS)


def test_an_unreadable_entity_keeps_no_other_from_being_read(stand_in: SalesforceStandIn, connect: Connect) -> None:
    """A query that is refused because of its fields is no sign of an outage, so the circuit stays closed."""
    stand_in.unreadable_fields = {"Priority"}
    opportunity = "006ak00000IiFInAAN"
    stand_in.add(opportunity, "Opportunity", StageName="Closed Won")
    salesforce = connect(circuit_failures=1, circuit_reset_seconds=3600)
    for _ in range(2):
        with pytest.raises(RefusedCall, match="INVALID_FIELD"):
            salesforce.read_records("Case", ["Priority"], ["500ak00000IiFInAAN"])
    (record,) = salesforce.read_records("Opportunity", ["StageName"], [opportunity, IDS[0]]).values()
    assert (record.record_id, record.values) == (opportunity, {"StageName": "Closed Won"})


@pytest.mark.parametrize("kind", ["hanging", "dripping"])
@pytest.mark.parametrize("at", ["login_faults", "query_faults"])
def test_a_deadline_ends_a_call_that_hangs(stand_in: SalesforceStandIn, connect: Connect, kind: str, at: str) -> None:
    """No response, and a response that drips byte by byte, end at the deadline; the next read works."""
    setattr(stand_in, at, [Fault(kind=kind)])
    salesforce = connect(deadline_seconds=1.0)
    with pytest.raises(SalesforceTimeout):
        salesforce.read_records("Account", PROFILE_FIELDS, IDS)
    setattr(stand_in, at, [])
    assert set(connect().read_records("Account", PROFILE_FIELDS, IDS)) == set(IDS)


def test_an_unknown_certificate_is_refused(
    stand_in: SalesforceStandIn, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The secret is not sent to a server whose certificate is not trusted."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(ConnectionFailed):
        connect().read_records("Account", PROFILE_FIELDS, IDS)
    assert stand_in.logins == 0


def test_a_missing_secret_is_named(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the environment variable."""
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(SecretUnavailable, match=VARIABLE):
        connect().read_records("Account", PROFILE_FIELDS, IDS)


def test_the_circuit_opens_and_closes(stand_in: SalesforceStandIn, connect: Connect) -> None:
    """After failed reads no more are tried, which is logged once; a successful probe closes the circuit."""
    stand_in.query_faults = [Fault(403, "API_DISABLED_FOR_ORG", times=99)]
    salesforce = connect(circuit_failures=2, circuit_reset_seconds=3600)
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(RefusedCall):
                salesforce.read_records("Account", PROFILE_FIELDS, IDS)
        for _ in range(3):
            with pytest.raises(SalesforceCircuitOpen):
                salesforce.read_records("Account", PROFILE_FIELDS, IDS)
    assert len(stand_in.queries) == 2
    assert [(entry["service"], entry["log_level"]) for entry in logs] == [("Salesforce", "error")]
    stand_in.query_faults = []
    salesforce = connect(circuit_failures=1, circuit_reset_seconds=0)
    stand_in.query_faults = [Fault(403, "API_DISABLED_FOR_ORG")]
    with pytest.raises(RefusedCall):
        salesforce.read_records("Account", PROFILE_FIELDS, IDS)
    with structlog.testing.capture_logs() as logs:
        assert set(salesforce.read_records("Account", PROFILE_FIELDS, IDS)) == set(IDS)
    assert [entry["event"] for entry in logs] == ["the circuit is closed again"]
