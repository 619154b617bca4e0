"""Signatures of webhooks: with the secret, of this request, now, and once."""

import hashlib
import hmac
from typing import Final

import pytest

from pipeline.api.auth import webhook_signatures
from pipeline.api.auth.webhook_signatures import TOLERANCE_SECONDS, WebhookSignatures, signature_of
from pipeline.api.problems import Kind, Problem, Unauthenticated
from tests.fixtures.planted_secrets import WEBHOOK_SECRET
from transforms.clients.secrets import SecretUnavailable

NOW: Final = 1_772_443_800
SIGNED: Final = ("POST", "/v1/change-events", b'{"a": 1}')
WEBHOOKS: Final = {"flow": ("OLD", "NEW")}
SECRETS: Final = {"OLD": "an older secret of theirs", "NEW": WEBHOOK_SECRET}


class Webhooks:
    """Signatures with a clock."""

    def __init__(self) -> None:
        self.now = float(NOW)
        self.secrets = dict(SECRETS)
        self.reads = 0
        self.signatures = WebhookSignatures(self._read, lambda: self.now)

    def _read(self, name: str) -> str:
        self.reads += 1
        if name not in self.secrets:
            raise SecretUnavailable(f"{name} is not set")
        return self.secrets[name]

    def verify(self, signature: str, signed: tuple[str, str, bytes] = SIGNED, name: str = "flow") -> None:
        """Verify a signature."""
        self.signatures.verify(WEBHOOKS, name, signature, signed)


def _signature(nonce: str = "nonce-1-of-1", seconds: int = NOW, secret: str = WEBHOOK_SECRET) -> str:
    return signature_of(secret, SIGNED, seconds, nonce)


def test_a_signature_is_what_the_documentation_says() -> None:
    """The HMAC of time, nonce, method, path and body."""
    text = b'1772443800.nonce-1-of-1.POST./v1/change-events.{"a": 1}'
    digest = hmac.new(WEBHOOK_SECRET.encode(), text, hashlib.sha256).hexdigest()
    assert _signature() == f"t=1772443800,n=nonce-1-of-1,v1={digest}"


def test_either_secret_signs_while_one_is_replaced() -> None:
    """Both are read once a minute."""
    webhooks = Webhooks()
    webhooks.verify(_signature("nonce-one"))
    webhooks.verify(_signature("nonce-two", secret=SECRETS["OLD"]))
    assert webhooks.reads == 2


def test_a_signature_is_used_once() -> None:
    """Also at the end of its time, and by nobody else; another nonce is another request."""
    webhooks = Webhooks()
    webhooks.verify(_signature(seconds=NOW + TOLERANCE_SECONDS))
    for later in (0, TOLERANCE_SECONDS, 2 * TOLERANCE_SECONDS):
        webhooks.now = NOW + later
        with pytest.raises(Unauthenticated, match="used before"):
            webhooks.verify(_signature(seconds=NOW + TOLERANCE_SECONDS))
    webhooks.verify(_signature("another-nonce", seconds=NOW + TOLERANCE_SECONDS))
    webhooks.now += 1
    with pytest.raises(Unauthenticated, match="older than"):
        webhooks.verify(_signature(seconds=NOW + TOLERANCE_SECONDS))


@pytest.mark.parametrize("seconds", [NOW - TOLERANCE_SECONDS - 1, NOW + TOLERANCE_SECONDS + 1, 0, 999_999_999_999])
def test_another_time_is_refused(seconds: int) -> None:
    """A request that was recorded can't be sent later."""
    with pytest.raises(Unauthenticated, match="or of the future"):
        Webhooks().verify(_signature(seconds=seconds))


@pytest.mark.parametrize(
    "signed",
    [
        ("PUT", *SIGNED[1:]),
        ("POST", "/v1/dead-letters:replay", SIGNED[2]),
        (*SIGNED[:2], b'{"a": 2}'),
        (*SIGNED[:2], b""),
    ],
)
def test_another_request_is_refused(signed: tuple[str, str, bytes]) -> None:
    """Method, path and body are signed; a refused signature's nonce is not used up."""
    webhooks = Webhooks()
    with pytest.raises(Unauthenticated, match="signature is wrong"):
        webhooks.verify(_signature(), signed)
    webhooks.verify(_signature())


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "v1=" + "0" * 64,
        "t=1,n=short,v1=" + "0" * 64,
        "t=\uff11,n=nonce-1-of-1,v1=" + "0" * 64,
        "t=1,n=nonce-1-of-1,v1=" + "0" * 63,
        "t=-1,n=nonce-1-of-1,v1=" + "0" * 64,
        "t=1,n=nonce 1 of 1,v1=" + "0" * 64,
        "é" * 10,
    ],
)
def test_what_is_no_signature_is_refused(signature: str) -> None:
    """Whatever it is."""
    with pytest.raises(Unauthenticated, match="malformed"):
        Webhooks().verify(signature)


def test_wrong_secrets_and_unknown_names_are_alike() -> None:
    """Nobody learns which webhooks there are."""
    messages = []
    for name, secret in (("flow", "a secret of nobody"), ("nobody", WEBHOOK_SECRET)):
        with pytest.raises(Unauthenticated) as refused:
            Webhooks().verify(_signature(secret=secret), name=name)
        messages.append(str(refused.value))
    assert len(set(messages)) == 1


def test_a_secret_that_can_not_be_read_is_an_outage() -> None:
    """Not the sender's fault: it sends again."""
    webhooks = Webhooks()
    del webhooks.secrets["NEW"]
    with pytest.raises(Problem) as refused:
        webhooks.verify(_signature())
    assert refused.value.kind is Kind.UNAVAILABLE


def test_nonces_are_never_forgotten_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are too many, new requests are refused, and old ones can't be repeated."""
    monkeypatch.setattr(webhook_signatures, "MAX_NONCES", 3)
    webhooks = Webhooks()
    for number in range(3):
        webhooks.verify(_signature(f"nonce-{number:04}"))
    with pytest.raises(Problem, match="too many") as refused:
        webhooks.verify(_signature("nonce-0003"))
    assert refused.value.kind is Kind.TOO_MANY
    with pytest.raises(Unauthenticated, match="used before"):
        webhooks.verify(_signature("nonce-0000"))
    webhooks.now += 2 * TOLERANCE_SECONDS + 2
    webhooks.verify(_signature("nonce-0004", seconds=int(webhooks.now)))
