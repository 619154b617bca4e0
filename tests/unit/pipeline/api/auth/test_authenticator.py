"""Who asks: by token, by IAP's header, by signature, or without any of them on loopback."""

from typing import Any, Final

import pytest

from pipeline.api.auth.authenticator import check_origin, is_loopback
from pipeline.api.auth.principals import Principal, Role
from pipeline.api.problems import Forbidden, Unauthenticated
from tests.fixtures.api import IAP_AUDIENCE, OPERATOR, READER, authenticator, bearer, ec_key, token

IAP: Final = {
    "x-goog-iap-jwt-assertion": token(
        OPERATOR, key=ec_key(), iss="https://cloud.google.com/iap", aud=IAP_AUDIENCE, email_verified=None
    )
}
ANONYMOUS: Final = Principal("anonymous", frozenset({Role.READER}))


def _lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _asks(headers: dict[str, str], **fields: Any) -> Principal:
    who = authenticator(**fields)
    return who.known(headers) or who.principal(headers, "GET", "/v1/scores", b"")


def test_a_token_has_the_roles_of_its_email() -> None:
    """Bearer is understood in any case, as HTTP says."""
    (value,) = bearer().values()
    assert _asks({"authorization": value}) == Principal(READER, frozenset({Role.READER}))
    assert _asks({"authorization": value.replace("Bearer", "BEARER")}).name == READER


def test_iap_goes_first_where_it_stands_in_front() -> None:
    """Elsewhere its header is nothing: anybody could send it."""
    assert _asks(IAP | _lower(bearer())).name == OPERATOR
    assert _asks(IAP | _lower(bearer()), iap=None).name == READER
    with pytest.raises(Unauthenticated):
        _asks(IAP, iap=None)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "Basic YTpi"},
        {"authorization": "Bearer nonsense"},
        {"x-rescore-signature": "t=1,n=nonce-1-of-1,v1=" + "0" * 64},
        {"x-rescore-webhook": "salesforce-flow"},
        {"x-goog-iap-jwt-assertion": "a.b.c"},
        {"x-goog-authenticated-user-email": f"accounts.google.com:{READER}"},
    ],
)
def test_nobody_gets_in_without_proof(headers: dict[str, str]) -> None:
    """IAP's unsigned headers are no proof either."""
    with pytest.raises(Unauthenticated):
        _asks(headers)


def test_a_stranger_with_a_good_token_is_forbidden() -> None:
    """The allow-list decides, also for a token that is known."""
    with pytest.raises(Forbidden, match="not on the allow-list"):
        _asks(_lower(bearer("eve@example.com")))


def test_bad_credentials_are_not_anonymous() -> None:
    """Who sends any is who they prove to be."""
    assert _asks({}, anonymous=ANONYMOUS) == ANONYMOUS
    for headers in ({"authorization": "Bearer x"}, {"authorization": "Basic x"}, {"x-rescore-signature": "x"}):
        with pytest.raises(Unauthenticated):
            _asks(headers, anonymous=ANONYMOUS)


LOOPBACK: Final = "localhost:8080"


@pytest.mark.parametrize(
    ("headers", "method", "is_anonymous"),
    [
        ({"host": LOOPBACK}, "GET", True),
        ({"host": "127.0.0.1:80"}, "POST", True),
        ({"host": "[::1]:80"}, "GET", True),
        ({"host": LOOPBACK, "origin": f"http://{LOOPBACK}", "sec-fetch-site": "same-origin"}, "POST", True),
        ({"host": "scores.example.com"}, "POST", False),
        ({"host": "scores.example.com", "origin": "https://evil.example.com"}, "GET", False),
    ],
)
def test_requests_of_programs_and_of_the_own_site_pass(
    headers: dict[str, str], method: str, *, is_anonymous: bool
) -> None:
    """Programs send neither header."""
    check_origin(headers, method, is_anonymous=is_anonymous)


@pytest.mark.parametrize(
    ("headers", "method", "is_anonymous"),
    [
        ({"host": "rebound.example.com"}, "GET", True),
        ({"host": "[::1"}, "GET", True),
        ({}, "GET", True),
        ({"host": LOOPBACK, "origin": "https://evil.example.com"}, "GET", True),
        ({"host": LOOPBACK, "origin": "null"}, "POST", True),
        ({"host": LOOPBACK, "sec-fetch-site": "cross-site"}, "GET", True),
        ({"host": "scores.example.com", "sec-fetch-site": "cross-site"}, "POST", False),
        ({"host": "scores.example.com", "origin": "https://evil.example.com"}, "POST", False),
        ({"host": "scores.example.com", "origin": "http://[evil"}, "DELETE", False),
    ],
)
def test_requests_of_other_sites_are_refused(headers: dict[str, str], method: str, *, is_anonymous: bool) -> None:
    """A browser sends them with IAP's cookie, or reaches loopback, whoever made the page."""
    with pytest.raises(Forbidden):
        check_origin(headers, method, is_anonymous=is_anonymous)


def test_loopback_is_an_address_or_localhost() -> None:
    """No other name, which could lead anywhere."""
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.9.9.9", "::1"]))
    assert not any(map(is_loopback, ["", "0.0.0.0", "::", "10.0.0.1", "localhost.example.com", "127.0.0.1.nip.io"]))  # noqa: S104 - refused
