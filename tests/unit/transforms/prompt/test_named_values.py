"""Values that a word names become marks; the words around them stay."""

import pytest

from transforms.prompt.named_values import BIRTH_DATE_MARK, SECRET_MARK
from transforms.prompt.personal_numbers import ID_MARK
from transforms.prompt.redaction import redact


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("The password for the portal is Sommer2026!, user kim.", SECRET_MARK),
        ("Passwort: Blau#Wolke9\nGruß", SECRET_MARK),
        ("https://kim:s3cr3t@portal.example/", SECRET_MARK),
        ("api_key=9f8e7d6c5b4a39281706", SECRET_MARK),
        ("-----BEGIN PRIVATE KEY-----\nMIIEvNOTAREALKEY\n-----END PRIVATE KEY-----", SECRET_MARK),
        ("born on 12 March 1984 in Leeds", BIRTH_DATE_MARK),
        ("Geburtsdatum: 12.03.1984", BIRTH_DATE_MARK),
        ("Ich bin am 12. März 1984 geboren", BIRTH_DATE_MARK),
        ("Passport no. 533401372", ID_MARK),
    ],
)
def test_a_named_value_becomes_a_mark(text: str, mark: str) -> None:
    """Passwords, tokens, dates of birth, numbers of passports."""
    assert mark in redact(text)
    assert not [
        part for part in ("Sommer", "Blau", "s3cr3t", "9f8e", "MIIEv", "1984", "533401372") if part in redact(text)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Please reset my password.",
        "The password policy needs 12 characters.",
        "Passwords expire after 90 days.",
        "Token budget: 1,250,000 a day",
        "The API key rotation of 2026-03-02 is done.",
        "The company was born in the cloud; we met on 12 March 2026.",
        "Sin 120 licencias no hay acuerdo.",
        "Password: [secret], user kim",
        "The board meets on 12 March 1984 Street 7.",
    ],
)
def test_words_alone_name_nothing(text: str) -> None:
    """A sentence about passwords, keys or dates has no value to hide; a mark is none either."""
    assert redact(text) == text


@pytest.mark.parametrize(
    "unit",
    [
        "password ",
        "password is ",
        "pw: a",
        "token ",
        "api key is ",
        "born ",
        "born 1 ",
        "SSN ",
        "SSN 1",
        "eyJaaaaaaaaa.",
        "://a:",
        "secret_key",
        "-----BEGIN PRIVATE KEY-----",
    ],
)
def test_text_made_to_be_slow_ends(unit: str) -> None:
    """A pattern that backtracks over a long text would take hours; the suite's own time limit is what fails it."""
    text = unit * (30_000 // len(unit))
    assert len(redact(text)) <= len(text) + len(unit) * len(BIRTH_DATE_MARK)
