"""A session with Salesforce: login, reads with retries and a circuit breaker. Alone imports simple_salesforce.

Only https is used. Proxies and certificate authorities come from the environment variables that `requests` honours
(HTTPS_PROXY, REQUESTS_CA_BUNDLE). No repr, log or error has a secret or a session id.
"""

import datetime as dt
import re
import threading
import time
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final

import requests
import tenacity
import urllib3.exceptions
from more_itertools import chunked
from pydantic import ValidationError
from simple_salesforce import exceptions as vendor
from simple_salesforce.api import Salesforce as Client

from transforms.clients.circuit import CircuitBreaker, CircuitOpen
from transforms.clients.deadlines import within
from transforms.clients.salesforce_api import (
    API_VERSION,
    ConnectionFailed,
    InvalidAnswer,
    Page,
    RefusedCall,
    SalesforceCircuitOpen,
    SalesforceRecord,
    SalesforceSettings,
    SalesforceTimeout,
    SessionExpired,
    Token,
    read_record,
    records_query,
    token_request,
)
from transforms.clients.secret_reader import SecretReader, read_secret
from transforms.errors import SalesforceUnavailable
from transforms.process import once_per_process

MAX_ATTEMPTS: Final = 4
MAX_IDS_A_QUERY: Final = 200
"""A SOQL query travels in the URL, of which Salesforce accepts 16 kB."""

_CONNECT_SECONDS: Final = 5.0
_RETRIED_STATUS: Final = frozenset({429, 500, 502, 503, 504})
_RETRIED_CODES: Final = frozenset({"REQUEST_LIMIT_EXCEEDED", "SERVER_UNAVAILABLE"})
_CODE: Final = re.compile(r"[A-Za-z_]{1,60}\Z")


class Salesforce:
    """A session with one organisation, for all the threads of a process; one read at a time."""

    def __init__(self, settings: SalesforceSettings, secrets: SecretReader | None = None) -> None:
        self._settings = settings
        self._secrets = secrets or read_secret
        self._client: Client | None = None
        self._reading = threading.Lock()
        self._circuit = CircuitBreaker(
            "Salesforce",
            SalesforceUnavailable,
            failures=settings.circuit_failures,
            reset_seconds=settings.circuit_reset_seconds,
        )

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

    def read_records(
        self, entity: str, fields: Sequence[str], record_ids: Iterable[str]
    ) -> dict[str, SalesforceRecord]:
        """Read records of one entity, deleted ones too, by id; the result lacks those that the user may not see.

        Raises:
            ValueError: A name is not an API name, or an id not an 18-character record id.
            SalesforceUnavailable: Salesforce did not answer within the deadline, or not with records.
        """
        ids = sorted(set(record_ids))
        queries = [records_query(entity, fields, part) for part in chunked(ids, MAX_IDS_A_QUERY)]
        ends_at = time.monotonic() + self._settings.deadline_seconds
        try:
            with self._reading:  # the wait for it counts towards the deadline
                answer = self._circuit.call(lambda: self._read_in_time(queries, fields, ends_at))
        except CircuitOpen as error:
            raise SalesforceCircuitOpen(str(error)) from None
        if isinstance(answer, RefusedCall):
            raise answer
        return answer

    def _read_in_time(
        self, queries: Sequence[str], fields: Sequence[str], ends_at: float
    ) -> dict[str, SalesforceRecord] | RefusedCall:
        """Return the records, or the refusal of a query because the user may not read its entity or a field.

        That is no sign of an outage, so the circuit stays closed, and other entities are read.
        """
        try:
            return within(max(0.0, ends_at - time.monotonic()), lambda: self._read(queries, fields, ends_at))
        except TimeoutError:
            self._client = None  # the abandoned thread may still use it
            raise self._too_late() from None
        except RefusedCall as refusal:
            if not refusal.is_unreadable:
                raise
            return refusal

    def _read(self, queries: Sequence[str], fields: Sequence[str], ends_at: float) -> dict[str, SalesforceRecord]:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_worth_retrying),
            wait=tenacity.wait_random_exponential(multiplier=self._settings.retry_wait_seconds, max=8),
            stop=tenacity.stop_after_attempt(MAX_ATTEMPTS) | tenacity.stop_before_delay(ends_at - time.monotonic()),
            reraise=True,
        )
        records: dict[str, SalesforceRecord] = {}
        for soql in queries:
            records |= retrying(self._query_with_session, soql, fields, ends_at)
        return records

    def _query_with_session(self, soql: str, fields: Sequence[str], ends_at: float) -> dict[str, SalesforceRecord]:
        try:
            return self._query(self._client or self._login(ends_at), soql, fields, ends_at)
        except SessionExpired:
            # Once: if Salesforce refuses a new session too, the cause is another.
            return self._query(self._login(ends_at), soql, fields, ends_at)

    def _query(self, client: Client, soql: str, fields: Sequence[str], ends_at: float) -> dict[str, SalesforceRecord]:
        try:
            # Deleted records are included, so that a record which the user may not see does not look deleted.
            page = Page.model_validate(client.query(soql, include_deleted=True, timeout=self._timeout(ends_at)))
            rows = list(page.records)
            while page.next_url:
                answer = client.query_more(page.next_url, identifier_is_url=True, timeout=self._timeout(ends_at))
                page = Page.model_validate(answer)
                rows += page.records
            return dict(read_record(row, fields) for row in rows)
        except VENDOR_ERRORS as error:
            raise self._mapped(error, ends_at) from None

    def _login(self, ends_at: float) -> Client:
        # simple_salesforce's own login has no deadline, and goes to *.salesforce.com only.
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
            session_id=token.access_token, instance_url=token.instance_url, session=session, version=API_VERSION
        )
        return self._client

    def _timeout(self, ends_at: float) -> tuple[float, float]:
        """Return the timeouts that `requests` takes, for the connection and for each wait for bytes, in seconds."""
        left = ends_at - time.monotonic()
        if left <= 0:
            raise self._too_late()
        return min(_CONNECT_SECONDS, left), left

    def _mapped(self, error: Exception, ends_at: float) -> SalesforceUnavailable:
        """Map a vendor's error; past the deadline every error is a timeout."""
        return self._too_late() if time.monotonic() >= ends_at else map_error(error)

    def _too_late(self) -> SalesforceTimeout:
        return SalesforceTimeout(f"Salesforce did not answer within {self._settings.deadline_seconds:g} s")


VENDOR_ERRORS: Final = (
    vendor.SalesforceError,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    urllib3.exceptions.ProxySchemeUnsupported,  # the only one that is not an HTTPError
    ValidationError,
)


def read_token(answer: requests.Response) -> Token:
    """Return the token in the response to a login.

    Raises:
        RefusedCall: The login was refused.
        ValidationError: The response has no valid token.
    """
    if answer.status_code != HTTPStatus.OK:
        raise RefusedCall(answer.status_code, _oauth_code(answer))
    return Token.model_validate_json(answer.content)


def map_error(error: Exception) -> SalesforceUnavailable:
    """Return our error for a vendor's, without its text, which can quote URLs and responses."""
    if isinstance(error, vendor.SalesforceError):
        code = _code(error.content)
        is_expired = error.status == HTTPStatus.UNAUTHORIZED or code == "INVALID_SESSION_ID"
        return (SessionExpired if is_expired else RefusedCall)(error.status, code)
    if isinstance(error, ValidationError | requests.exceptions.JSONDecodeError):
        return InvalidAnswer(f"Salesforce's response is not one of its API ({type(error).__name__})")
    return ConnectionFailed(f"the connection to Salesforce failed ({type(error).__name__})")


def is_worth_retrying(error: BaseException) -> bool:
    """Whether the same read can succeed shortly after: a server fault, a limit, a lost connection."""
    if isinstance(error, RefusedCall):
        return error.status in _RETRIED_STATUS or error.code in _RETRIED_CODES
    return isinstance(error, ConnectionFailed)


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


@once_per_process
def shared_salesforce(settings: SalesforceSettings) -> Salesforce:
    """Return this process's session for the settings: workers have a DoFn a thread, the DirectRunner one a bundle."""
    return Salesforce(settings)
