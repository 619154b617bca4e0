"""Salesforce, at its edge: the one module that imports simple_salesforce, and maps its exceptions.

It is reached over https only. Proxies and certificate authorities come from the environment variables that `requests`
honours (HTTPS_PROXY, REQUESTS_CA_BUNDLE). Secrets and session ids are in no repr, log or error of this module.
"""

import datetime as dt
import functools
import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pybreaker
import requests
import structlog
import tenacity
import urllib3.exceptions
from pydantic import AwareDatetime, Field, JsonValue, ValidationError
from simple_salesforce import exceptions as vendor
from simple_salesforce.api import Salesforce as Client

from schemas.record import ValidatedModel
from schemas.salesforce_fields import MODIFIED_FIELD
from schemas.salesforce_ids import AccountId, normalize_account_id
from transforms.clients.circuit import within
from transforms.clients.salesforce_login import SalesforceSettings, token_request
from transforms.clients.secrets import SecretReader, read_secret
from transforms.errors import SalesforceUnavailable

MAX_ATTEMPTS: Final = 4
MAX_IDS_A_QUERY: Final = 200
"""A SOQL query travels in the URL, which Salesforce takes up to 16 kB of."""

_CONNECT_SECONDS: Final = 5.0
_RETRIED_STATUS: Final = frozenset({429, 500, 502, 503, 504})
_RETRIED_CODES: Final = frozenset({"REQUEST_LIMIT_EXCEEDED", "SERVER_UNAVAILABLE"})
_HTTP_OK: Final = 200
_HTTP_UNAUTHORIZED: Final = 401
_CODE: Final = re.compile(r"[A-Za-z_]{1,60}\Z")

_log = structlog.stdlib.get_logger(__name__)


class AccountRecord(ValidatedModel):
    """An Account as Salesforce has it now; `values` holds None for what is empty."""

    account_id: AccountId
    is_deleted: bool = Field(description="It is in the recycle bin, or was merged into another")
    modified_at: AwareDatetime
    values: dict[str, JsonValue]


class RefusedCall(SalesforceUnavailable):
    """Salesforce answered with an HTTP status that is no success; `code` is its own name of the reason."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"Salesforce answered with HTTP status {status} ({code})")
        self.status = status
        self.code = code


class SessionExpired(RefusedCall):
    """The session is over: a new login is wanted."""


class ConnectionFailed(SalesforceUnavailable):
    """The connection did not come about, or broke."""


class InvalidAnswer(SalesforceUnavailable):
    """Salesforce, or somebody in between, answered with something that is no answer of its API."""


class SalesforceTimeout(SalesforceUnavailable):
    """No answer within the deadline."""


class CircuitOpen(SalesforceUnavailable):
    """The last reads failed, so that none is tried for a while."""


class Salesforce:
    """A session with one organisation, for all the threads of a process; one read at a time."""

    def __init__(self, settings: SalesforceSettings, secrets: SecretReader | None = None) -> None:
        self._settings = settings
        self._secrets = secrets or read_secret
        self._client: Client | None = None
        # It lets one call through at a time: those that wait do so on their own deadlines' account.
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=settings.circuit_failures,
            reset_timeout=settings.circuit_reset_seconds,
            listeners=[_CircuitLog()],
            throw_new_error_on_trip=False,
        )

    @property
    def circuit(self) -> str:
        """State of the circuit: closed, open or half-open."""
        return self._breaker.current_state

    def log_in(self) -> None:
        """Get a session, as the first read does.

        Raises:
            SalesforceUnavailable: Salesforce gave none within the deadline.
        """
        ends_at = time.monotonic() + self._settings.deadline_seconds
        try:
            within(self._settings.deadline_seconds, lambda: self._login(ends_at))
        except TimeoutError:
            raise self._too_late() from None

    def read_accounts(self, account_ids: Iterable[str]) -> dict[str, AccountRecord]:
        """Read accounts in one query, deleted ones too; those that Salesforce does not show are missing in the answer.

        Raises:
            ValueError: What is no 18-character id of an Account can't be asked for.
            SalesforceUnavailable: Salesforce did not answer within the deadline, or not with records.
        """
        ids = sorted(set(account_ids))
        if any(normalize_account_id(account_id) != account_id for account_id in ids):
            raise ValueError("18-character ids are wanted")
        ends_at = time.monotonic() + self._settings.deadline_seconds
        try:
            return self._breaker.call(self._read_in_time, ids, ends_at)
        except pybreaker.CircuitBreakerError:
            raise CircuitOpen("the circuit to Salesforce is open, since the last reads failed") from None

    def _read_in_time(self, ids: Sequence[str], ends_at: float) -> dict[str, AccountRecord]:
        try:
            return within(max(0.0, ends_at - time.monotonic()), lambda: self._read(ids, ends_at))
        except TimeoutError:
            self._client = None  # it may hang in the thread that was given up: the next read has one of its own
            raise self._too_late() from None

    def _read(self, ids: Sequence[str], ends_at: float) -> dict[str, AccountRecord]:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_worth_retrying),
            wait=tenacity.wait_random_exponential(multiplier=self._settings.retry_wait_seconds, max=8),
            stop=tenacity.stop_after_attempt(MAX_ATTEMPTS) | tenacity.stop_before_delay(ends_at - time.monotonic()),
            reraise=True,
        )
        records: dict[str, AccountRecord] = {}
        for start in range(0, len(ids), MAX_IDS_A_QUERY):
            soql = accounts_query(ids[start : start + MAX_IDS_A_QUERY], self._settings.fields)
            records |= retrying(self._query_with_session, soql, ends_at)
        return records

    def _query_with_session(self, soql: str, ends_at: float) -> dict[str, AccountRecord]:
        try:
            return self._query(self._client or self._login(ends_at), soql, ends_at)
        except SessionExpired:
            # Sessions end by themselves; if a fresh one is refused too, the fault is another.
            return self._query(self._login(ends_at), soql, ends_at)

    def _query(self, client: Client, soql: str, ends_at: float) -> dict[str, AccountRecord]:
        try:
            # Deleted records are asked for: one that is merely hidden from the user must not look deleted.
            page = _Page.model_validate(client.query(soql, include_deleted=True, timeout=self._timeout(ends_at)))
            rows = list(page.records)
            while page.next_url:
                answer = client.query_more(page.next_url, identifier_is_url=True, timeout=self._timeout(ends_at))
                page = _Page.model_validate(answer)
                rows += page.records
            return dict(_record(row, self._settings.fields) for row in rows)
        except VENDOR_ERRORS as error:
            raise self._mapped(error, ends_at) from None

    def _login(self, ends_at: float) -> Client:
        # simple_salesforce can log in by itself, but without a deadline, and at *.salesforce.com only.
        request = token_request(self._settings, self._secrets(self._settings.secret), dt.datetime.now(dt.UTC))
        session = requests.Session()
        try:
            answer = session.post(
                f"{self._settings.login_url}/services/oauth2/token",
                data=request,
                timeout=self._timeout(ends_at),
                allow_redirects=False,  # the secret goes to no other host
            )
            token = read_token(answer)
        except VENDOR_ERRORS as error:
            raise self._mapped(error, ends_at) from None
        self._client = Client(
            session_id=token.access_token,
            instance_url=token.instance_url,
            session=session,
            version=self._settings.api_version,
        )
        return self._client

    def _timeout(self, ends_at: float) -> tuple[float, float]:
        """Return what is left of the deadline, as `requests` takes it: for the connection, and for a wait for bytes."""
        left = ends_at - time.monotonic()
        if left <= 0:
            raise self._too_late()
        return min(_CONNECT_SECONDS, left), left

    def _mapped(self, error: Exception, ends_at: float) -> SalesforceUnavailable:
        """Map a vendor's error; one that comes with the end of the deadline is that, whatever the library calls it."""
        return self._too_late() if time.monotonic() >= ends_at else map_error(error)

    def _too_late(self) -> SalesforceTimeout:
        return SalesforceTimeout(f"Salesforce did not answer within {self._settings.deadline_seconds:g} s")


class _Page(ValidatedModel, extra="ignore"):
    """A page of a query's answer; the next one is on the same host, whatever the answer says."""

    records: tuple[dict[str, JsonValue], ...]
    next_url: str | None = Field(default=None, validation_alias="nextRecordsUrl", pattern=r"^/services/data/[\w./-]+$")


class Token(ValidatedModel, extra="ignore"):
    """What a login brings: a session, and the host on which it counts."""

    access_token: str = Field(pattern=r"^[!-~]+$", repr=False)
    instance_url: str = Field(pattern=r"^https://[A-Za-z0-9.-]+(:\d+)?/?$")


VENDOR_ERRORS: Final = (
    vendor.SalesforceError,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    urllib3.exceptions.ProxySchemeUnsupported,  # the one that is no HTTPError
    ValidationError,
)


def accounts_query(account_ids: Sequence[str], fields: Sequence[str]) -> str:
    """Return the SOQL that reads accounts; SOQL binds no parameters, so that ids must be checked ones."""
    columns = ", ".join(dict.fromkeys(("Id", "IsDeleted", MODIFIED_FIELD, *fields)))
    ids = ", ".join(f"'{account_id}'" for account_id in account_ids)
    return f"SELECT {columns} FROM Account WHERE Id IN ({ids})"  # noqa: S608 - checked ids, and fields of the settings


def read_token(answer: requests.Response) -> Token:
    """Return the token of a login's answer.

    Raises:
        RefusedCall: The login was refused.
        ValidationError: The answer is no token.
    """
    if answer.status_code != _HTTP_OK:
        raise RefusedCall(answer.status_code, _oauth_code(answer))
    return Token.model_validate_json(answer.content)


def map_error(error: Exception) -> SalesforceUnavailable:
    """Return our error for one of the vendors'; their own texts quote URLs and answers, and stay behind."""
    if isinstance(error, vendor.SalesforceError):
        code = _code(error.content)
        is_expired = error.status == _HTTP_UNAUTHORIZED or code == "INVALID_SESSION_ID"
        return (SessionExpired if is_expired else RefusedCall)(error.status, code)
    if isinstance(error, ValidationError | requests.exceptions.JSONDecodeError):
        return InvalidAnswer(f"Salesforce's answer is no answer of its API ({type(error).__name__})")
    return ConnectionFailed(f"the connection to Salesforce failed ({type(error).__name__})")


def is_worth_retrying(error: BaseException) -> bool:
    """Whether the same read can succeed a moment later: a server's fault, a limit, a lost connection."""
    if isinstance(error, RefusedCall):
        return error.status in _RETRIED_STATUS or error.code in _RETRIED_CODES
    return isinstance(error, ConnectionFailed)


def _record(row: Mapping[str, JsonValue], fields: Sequence[str]) -> tuple[str, AccountRecord]:
    record = AccountRecord.model_validate(
        {
            "account_id": row.get("Id"),
            "is_deleted": row.get("IsDeleted"),
            "modified_at": row.get(MODIFIED_FIELD),
            "values": {name: row[name] for name in fields if name in row},
        }
    )
    return record.account_id, record


def _oauth_code(answer: requests.Response) -> str:
    try:
        document = answer.json()
    except requests.exceptions.JSONDecodeError:
        return "no reason given"
    return _safe_code(document.get("error") if isinstance(document, dict) else None)


def _code(content: Any) -> str:
    first = content[0] if isinstance(content, list) and content else None
    return _safe_code(first.get("errorCode") if isinstance(first, dict) else None)


def _safe_code(code: object) -> str:
    return code if isinstance(code, str) and _CODE.match(code) else "no reason given"


class _CircuitLog(pybreaker.CircuitBreakerListener):
    """Tells operators when reads stop, and when they go on."""

    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,
        old_state: pybreaker.CircuitBreakerState | None,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        old = old_state.name if old_state else "unknown"
        _log.warning(
            "the circuit to Salesforce changed its state", old=old, new=new_state.name, failures=cb.fail_counter
        )


_starting = threading.Lock()


def shared_salesforce(settings: SalesforceSettings) -> Salesforce:
    """Return this process's session for the settings: workers have a DoFn a thread, the DirectRunner one a bundle."""
    with _starting:
        return _salesforce(settings)


@functools.cache
def _salesforce(settings: SalesforceSettings) -> Salesforce:
    return Salesforce(settings)
