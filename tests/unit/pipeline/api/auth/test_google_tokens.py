"""Tokens that Google signs: only its own, for this service, now, with a verified email."""

import base64
import time
from typing import Any, Final

import jwt
import orjson
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from pipeline.api.auth.google_tokens import GoogleTokens, certs_of, iap_rules, oidc_rules
from pipeline.api.problems import Problem, Unauthenticated
from tests.fixtures.api import AUDIENCE, IAP_AUDIENCE, KEY_ID, READER, certs, ec_key, rsa_key, token


class Certs:
    """A server of certificates, which can be down."""

    def __init__(self, text: bytes | None = None, seconds: float = 3600.0) -> None:
        self.text = text or certs()
        self.seconds = seconds
        self.reads = 0
        self.is_down = False

    def __call__(self, _url: str) -> tuple[bytes, float]:
        """Return the certificates."""
        self.reads += 1
        if self.is_down:
            raise requests.ConnectionError
        return self.text, self.seconds


def _tokens(served: Certs | None = None) -> GoogleTokens:
    return GoogleTokens(oidc_rules(AUDIENCE), served or Certs())


def test_a_token_is_an_email() -> None:
    """In lower case; the certificates are read once, and a token is verified once."""
    served = Certs()
    tokens = _tokens(served)
    given = token("Ann@Example.com")
    assert tokens.known_email(given) is None
    assert tokens.email_of(given) == READER
    assert tokens.known_email(given) == READER
    assert tokens.email_of(token("bob@example.com")) == "bob@example.com"
    assert served.reads == 1


NOW: Final = int(time.time())


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "https://other.example.com"}, "another audience"),
        ({"aud": [AUDIENCE, "x"]}, "another audience|malformed"),
        ({"aud": None}, "another audience"),
        ({"iss": "https://evil.example.com"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"iat": NOW - 7200, "exp": NOW - 3600}, "has expired"),
        ({"exp": None}, "malformed"),
        ({"iat": NOW + 3600, "exp": NOW + 7200}, "not valid yet"),
        ({"email_verified": False}, "no verified email"),
        ({"email_verified": "true"}, "no verified email"),
        ({"email": 5}, "no verified email"),
        ({"email": None}, "no verified email"),
        ({"key": rsa_key(2)}, "signature is wrong"),
        ({"key": ec_key()}, "not signed with RS256"),
        ({"headers": {"kid": "key-2"}}, "unknown key"),
    ],
)
def test_another_token_is_refused(claims: dict[str, Any], reason: str) -> None:
    """With the reason, and no word of the token."""
    with pytest.raises(Unauthenticated, match=reason):
        _tokens().email_of(token(**claims))


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).decode().rstrip("=")


HEADER: Final = {"alg": "RS256", "kid": KEY_ID, "typ": "JWT"}


@pytest.mark.parametrize(
    "given",
    [
        "",
        "a.b.c",
        "....",
        "é.é.é",
        "\x00",
        "x" * 100_000,
        f"{_part({**HEADER, 'alg': 'none'})}.{_part({'email': READER})}.",
        f"{_part({**HEADER, 'alg': 'HS256'})}.{_part({'email': READER})}.AAAA",
        f"{_part({**HEADER, 'kid': ['a']})}.{_part({})}.AAAA",
        f"{_part({'alg': 'RS256'})}.{_part({})}.AAAA",
        f"{_part([])}.{_part([])}.AAAA",
        f"{_part(HEADER)}.{_part([1])}.AAAA",
        f"{_part(HEADER)}.AAAA.A",
        jwt.encode({"email": READER}, "k" * 32, "HS256", headers={"kid": KEY_ID}),
    ],
)
def test_what_is_no_token_is_refused(given: str) -> None:
    """Nothing that is sent fails otherwise."""
    with pytest.raises(Unauthenticated):
        _tokens().email_of(given)


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(-(10**20), 10**20),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(claims=st.dictionaries(st.sampled_from(["iss", "aud", "email", "exp", "iat", "nbf", "email_verified"]), JSON))
def test_any_claims_are_refused_or_an_email(claims: dict[str, Any]) -> None:
    """Also those that no issuer would sign."""
    try:
        email = _tokens().email_of(token(**claims))
    except Unauthenticated:
        return
    assert isinstance(email, str)


def test_iap_signs_with_another_key() -> None:
    """Its header is no bearer token, and a bearer token is no header of IAP."""
    iap = GoogleTokens(iap_rules(IAP_AUDIENCE), Certs(certs(ec_key())))
    claims: dict[str, Any] = {"iss": "https://cloud.google.com/iap", "aud": IAP_AUDIENCE, "email_verified": None}
    assert iap.email_of(token(key=ec_key(), **claims)) == READER
    for other in (token(), token(**claims), token(key=ec_key())):
        with pytest.raises(Unauthenticated):
            iap.email_of(other)


def test_keys_rotate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new key is looked up, at most once a minute: an unknown key does not make each request a read."""
    clock = [1_000.0]
    monkeypatch.setattr("pipeline.api.auth.google_tokens.time.monotonic", lambda: clock[0])
    served = Certs()
    tokens = _tokens(served)
    tokens.email_of(token())
    for _ in range(3):
        with pytest.raises(Unauthenticated, match="unknown key"):
            tokens.email_of(token(key=rsa_key(2), headers={"kid": "key-2"}))
    assert served.reads == 1
    pem = orjson.loads(certs(rsa_key(2)))[KEY_ID]
    served.text = orjson.dumps({"key-2": pem})
    clock[0] += 61
    assert tokens.email_of(token(key=rsa_key(2), headers={"kid": "key-2"})) == READER
    assert served.reads == 2


def test_certificates_outlast_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are known are used; without any, nobody can be told from anybody else."""
    clock = [1_000.0]
    monkeypatch.setattr("pipeline.api.auth.google_tokens.time.monotonic", lambda: clock[0])
    served = Certs()
    tokens = _tokens(served)
    served.is_down = True
    with pytest.raises(Problem, match="can't be read"):
        tokens.email_of(token())
    served.is_down = False
    tokens.email_of(token())
    served.is_down = True
    clock[0] += 7_200
    assert tokens.email_of(token("bob@example.com")) == "bob@example.com"
    assert served.reads == 3


def test_certificates_may_be_a_key_set() -> None:
    """PEM by key id, or a JSON Web Key Set; keys of other kinds are left out."""
    entry = jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key().public_key(), as_dict=True) | {"kid": KEY_ID, "alg": "RS256"}
    secret = {"kty": "oct", "k": "AAAA", "kid": "other", "alg": "HS256"}
    document = orjson.dumps({"keys": [entry, secret, {"kty": "?"}]})
    assert GoogleTokens(oidc_rules(AUDIENCE), Certs(document)).email_of(token()) == READER
    assert set(certs_of(document)) == {KEY_ID}


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"1", b'{"a": 1}', b"<html>"])
def test_what_holds_no_certificate_is_an_outage(text: bytes) -> None:
    """As the page of a proxy."""
    with pytest.raises(Problem, match="can't be read"):
        _tokens(Certs(text or b"\xff")).email_of(token())
