"""Reading through simple_salesforce against the stand-in: records, and each failure with its class."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from tests.fixtures.changes import account_id
from tests.integration.salesforce_stand_in import (
    IDS,
    VARIABLE,
    Fault,
    SalesforceStandIn,
    settings_for,
    trusted_stand_in,
)
from transforms.clients.salesforce import (
    MAX_ATTEMPTS,
    CircuitOpen,
    ConnectionFailed,
    InvalidAnswer,
    RefusedCall,
    Salesforce,
    SalesforceTimeout,
    SessionExpired,
)
from transforms.clients.salesforce_login import AuthFlow
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
    """Return what makes a session with the stand-in."""
    return lambda **fields: Salesforce(settings_for(stand_in, **fields))


def test_a_batch_is_one_query(stand_in: SalesforceStandIn, connect: Connect) -> None:
    """Records are read together, once each, in one session; a second batch uses the same one."""
    salesforce = connect()
    records = salesforce.read_accounts([*IDS, *IDS])
    assert {record.values["Name"] for record in records.values()} == {"Company 0", "Company 1", "Company 2"}
    assert sorted(records) == sorted(IDS)
    salesforce.read_accounts(IDS[:1])
    assert (stand_in.logins, len(stand_in.queries)) == (1, 2)


def test_a_large_batch_is_read_in_parts_and_pages(stand_in: SalesforceStandIn, connect: Connect) -> None:
    """More ids than a URL holds take several queries, and an answer in pages is read to its end."""
    ids = [account_id(number) for number in range(250)]
    for record_id in ids:
        stand_in.add(record_id, Name="Company")
    stand_in.page_size = 90
    assert sorted(connect().read_accounts(ids)) == sorted(ids)
    assert len(stand_in.queries) == 2


def test_a_page_elsewhere_is_not_followed(stand_in: SalesforceStandIn, connect: Connect) -> None:
    """The session is taken to no other host, whatever an answer says where its next page is."""
    stand_in.page_size, stand_in.next_page = 1, "@example.com/{start}"
    with pytest.raises(InvalidAnswer):
        connect().read_accounts(IDS)


def test_jwt_bearer_logs_in(stand_in: SalesforceStandIn, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The assertion is signed with the private key, and names issuer, user and audience: the stand-in verifies it."""
    monkeypatch.setenv(VARIABLE, stand_in.private_key)
    assert set(connect(flow=AuthFlow.JWT_BEARER).read_accounts(IDS)) == set(IDS)
    with pytest.raises(RefusedCall, match="invalid_grant"):
        connect(flow=AuthFlow.JWT_BEARER, username="somebody@example.com").read_accounts(IDS)


def test_an_expired_session_costs_one_login(stand_in: SalesforceStandIn, connect: Connect) -> None:
    """A session that ended between two reads is replaced, and the read succeeds."""
    salesforce = connect()
    salesforce.read_accounts(IDS)
    stand_in.expire_sessions()
    assert set(salesforce.read_accounts(IDS)) == set(IDS)
    assert stand_in.logins == 2


def test_a_session_refused_at_once_is_not_asked_for_again(stand_in: SalesforceStandIn, connect: Connect) -> None:
    """If a fresh session is refused, one more is tried, and then the read has failed."""
    stand_in.query_faults = [Fault(401, "INVALID_SESSION_ID", times=99)]
    with pytest.raises(SessionExpired):
        connect().read_accounts(IDS)
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
def test_passing_faults_are_tried_again(stand_in: SalesforceStandIn, connect: Connect, fault: Fault, at: str) -> None:
    """A server's fault, a limit and a broken connection cost attempts, at the login as at the query."""
    setattr(stand_in, at, [fault, fault])
    assert set(connect().read_accounts(IDS)) == set(IDS)


def test_attempts_are_bounded(stand_in: SalesforceStandIn, connect: Connect) -> None:
    """A fault that stays ends the read after a few attempts."""
    stand_in.query_faults = [Fault(503, "SERVER_UNAVAILABLE", times=99)]
    with pytest.raises(RefusedCall, match="SERVER_UNAVAILABLE"):
        connect().read_accounts(IDS)
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
    """What the same call would meet again is not tried again, and has its class."""
    setattr(stand_in, at, [fault])
    with pytest.raises(expected):
        connect().read_accounts(IDS)
    assert (stand_in.logins, len(stand_in.queries)) == (1, 0 if at == "login_faults" else 1)


def test_a_field_that_may_not_be_read_is_named_as_the_reason(stand_in: SalesforceStandIn, connect: Connect) -> None:
    """Salesforce refuses a query for the sake of one field; without that field the records come."""
    stand_in.unreadable_fields = {"AnnualRevenue"}
    with pytest.raises(RefusedCall, match="INVALID_FIELD"):
        connect().read_accounts(IDS)
    assert set(connect(fields=("Name", "Rating")).read_accounts(IDS)) == set(IDS)


@pytest.mark.parametrize("kind", ["hanging", "dripping"])
@pytest.mark.parametrize("at", ["login_faults", "query_faults"])
def test_a_deadline_ends_what_would_not_end(stand_in: SalesforceStandIn, connect: Connect, kind: str, at: str) -> None:
    """Silence, and an answer that comes byte by byte without an end, are given up; the next read works."""
    setattr(stand_in, at, [Fault(kind=kind)])
    salesforce = connect(deadline_seconds=1.0)
    with pytest.raises(SalesforceTimeout):
        salesforce.read_accounts(IDS)
    setattr(stand_in, at, [])
    assert set(connect().read_accounts(IDS)) == set(IDS)


def test_an_unknown_certificate_is_refused(
    stand_in: SalesforceStandIn, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a certificate that is trusted there is no login: the secret stays here."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(ConnectionFailed):
        connect().read_accounts(IDS)
    assert stand_in.logins == 0


def test_a_missing_secret_is_named(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says which environment variable should have held it."""
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(SecretUnavailable, match=VARIABLE):
        connect().read_accounts(IDS)


def test_the_circuit_opens_and_closes(stand_in: SalesforceStandIn, connect: Connect) -> None:
    """After some failed reads none is tried, which is said once; after a while one is, and its success ends it."""
    stand_in.query_faults = [Fault(403, "API_DISABLED_FOR_ORG", times=99)]
    salesforce = connect(circuit_failures=2, circuit_reset_seconds=3600)
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(RefusedCall):
                salesforce.read_accounts(IDS)
        for _ in range(3):
            with pytest.raises(CircuitOpen):
                salesforce.read_accounts(IDS)
    assert len(stand_in.queries) == 2
    assert salesforce.circuit == "open"
    assert [(entry["old"], entry["new"]) for entry in logs] == [("closed", "open")]
    stand_in.query_faults = []
    salesforce = connect(circuit_failures=1, circuit_reset_seconds=0)
    stand_in.query_faults = [Fault(403, "API_DISABLED_FOR_ORG")]
    with pytest.raises(RefusedCall):
        salesforce.read_accounts(IDS)
    assert set(salesforce.read_accounts(IDS)) == set(IDS)
    assert salesforce.circuit == "closed"
