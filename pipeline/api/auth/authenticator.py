"""From the headers of a request to its principal."""

import ipaddress
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

import structlog

from pipeline.api.auth.allow_list import AllowList, load_allow_list
from pipeline.api.auth.google_tokens import GoogleTokens
from pipeline.api.auth.principals import Principal, Role
from pipeline.api.auth.webhook_signatures import NAME_HEADER, SIGNATURE_HEADER, WebhookSignatures
from pipeline.api.problems import Forbidden, Unauthenticated

IAP_HEADER: Final = "x-goog-iap-jwt-assertion"
_BEARER: Final = "bearer "
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_SAME_SITE: Final = frozenset({"same-origin", "none"})
_log = structlog.stdlib.get_logger(__name__)


class KeptAllowList:
    """An allow-list that is read again when its file changes; a file that is none by then leaves it as it was.

    Raises:
        ValueError: The file is no allow-list at the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._changed = self._change_time()
        self.current = load_allow_list(path)

    def read_again(self) -> None:
        """Read the file if it has changed."""
        with self._lock:
            changed = self._change_time()
            if changed == self._changed:
                return
            self._changed = changed
            try:
                self.current = load_allow_list(self._path)
            except ValueError as error:
                _log.warning("the allow-list stays as it was", reason=str(error))
            else:
                _log.info("the allow-list was read again", principals=len(self.current.roles))

    def _change_time(self) -> int:
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return 0


@dataclass
class Authenticator:
    """Says who asks.

    Attributes:
        allow_list: Returns the allow-list as it is now.
        oidc: Verifies bearer tokens; None: they are refused.
        iap: Verifies IAP's header; None: the header is ignored.
        webhooks: Verifies signatures.
        anonymous: Who asks without any credential, on loopback only; None: nobody may.
    """

    allow_list: Callable[[], AllowList] = AllowList.empty
    oidc: GoogleTokens | None = None
    iap: GoogleTokens | None = None
    webhooks: WebhookSignatures | None = None
    anonymous: Principal | None = None

    def known(self, headers: Mapping[str, str]) -> Principal | None:
        """Return the principal if no signature has to be verified; None: call `principal`."""
        tokens, token = self._token(headers)
        email = tokens.known_email(token) if tokens else None
        if email is not None:
            return self._with_roles(email)
        has_credential = token or SIGNATURE_HEADER in headers or "authorization" in headers
        return self.anonymous if self.anonymous and not has_credential else None

    def needs_body(self, headers: Mapping[str, str]) -> bool:
        """Whether the body is signed, so that it must be read first."""
        return not self._token(headers)[1] and SIGNATURE_HEADER in headers and NAME_HEADER in headers

    def principal(self, headers: Mapping[str, str], method: str, path: str, body: bytes) -> Principal:
        """Return who asks; it may wait for certificates or a secret.

        Raises:
            Unauthenticated: Nobody that is known.
            Forbidden: Someone who is not on the allow-list.
            Problem: Certificates or a secret can't be read.
        """
        tokens, token = self._token(headers)
        if tokens:
            return self._with_roles(tokens.email_of(token))
        if self.webhooks and self.needs_body(headers):
            name = headers[NAME_HEADER]
            signature = headers[SIGNATURE_HEADER]
            self.webhooks.verify(self.allow_list().webhooks, name, signature, (method, path, body))
            return Principal(f"webhook:{name}", frozenset({Role.PUBLISHER}))
        raise Unauthenticated(
            "send a token that Google signed for this service (Authorization: Bearer …), or sign the request"
        )

    def _token(self, headers: Mapping[str, str]) -> tuple[GoogleTokens | None, str]:
        """Return the token that was sent, and what verifies it."""
        if self.iap and (token := headers.get(IAP_HEADER)):
            return self.iap, token
        given = headers.get("authorization", "")
        if self.oidc and given[: len(_BEARER)].lower() == _BEARER:
            return self.oidc, given[len(_BEARER) :].strip()
        return None, ""

    def _with_roles(self, email: str) -> Principal:
        roles = self.allow_list().roles.get(email)
        if roles is None:
            raise Forbidden("the email of the token is not on the allow-list of this service")
        return Principal(email, roles)


def check_origin(headers: Mapping[str, str], method: str, *, is_anonymous: bool) -> None:
    """Refuse what another site has a browser send, which adds IAP's cookie, or reaches loopback, by itself.

    Raises:
        Forbidden: Another site made the request, or the name of the host is not loopback's (DNS rebinding).
    """
    host = headers.get("host", "")
    if is_anonymous and not is_loopback(_parts(f"//{host}").hostname or ""):
        raise Forbidden("without credentials, this service is asked as localhost or 127.0.0.1 only")
    if method in _SAFE_METHODS and not is_anonymous:
        return
    site, origin = headers.get("sec-fetch-site", "none"), headers.get("origin")
    if site not in _SAME_SITE or (origin is not None and _parts(origin).netloc != host):
        raise Forbidden("another site made this request")


def _parts(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:  # such as an IPv6 address that is not closed
        return urlsplit("")


def is_loopback(host: str) -> bool:
    """Return whether a name or an address is loopback's."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
