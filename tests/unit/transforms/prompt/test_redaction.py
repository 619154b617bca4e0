"""Redaction: personal numbers and addresses are removed, amounts, counts and dates stay."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transforms.prompt.personal_numbers import CARD_MARK, is_card_number
from transforms.prompt.phone_numbers import PHONE_MARK
from transforms.prompt.redaction import EMAIL_MARK, redact

_words = st.text(string.ascii_letters + " ,;.!?", max_size=20).map(lambda text: f" {text} ")


@pytest.mark.parametrize(
    "address",
    [
        "jo@example.com",
        "Jo.Müller+crm@mail.müller.example",
        "o'brien_99@sub.domain.co.uk",
        "jo＠example．com",  # noqa: RUF001 - full-width forms that a mail client may show
        "jo (at) example (dot) com",
        "jo [at] example.com",
        "JO@EXAMPLE.COM",
        "x@xn--mller-kva.xn--p1ai",
        f"{'long' * 16}@example.com",
    ],
)
def test_an_email_address_becomes_a_mark(address: str) -> None:
    """Whichever way it is written."""
    assert redact(f"Write to {address}, please.") == f"Write to {EMAIL_MARK}, please."


@pytest.mark.parametrize(
    "number",
    [
        "+49 30 23125 123",
        "+49 (0)30 23125-123",
        "+1 (415) 555-0123",
        "+442079460912",
        "+33 1 99 00 12 34",
        "+81-3-5550-1234",
        "0049 30 23125 123",
        "(415) 555-0123",
        "415-555-0123",
        "1 415 555 0123",
        "415.555.0123",
        "020 7946 0912",
        "030/23125123",
        "0171 1234567",
        "02079460912",
        "01 99 00 12 34",
        "+41\u00a044\u00a0500\u00a012\u00a034",
    ],
)
def test_a_phone_number_becomes_a_mark(number: str) -> None:
    """In the notations of several countries."""
    assert redact(f"I am at {number}; later.") == f"I am at {PHONE_MARK}; later."


@pytest.mark.parametrize(
    "cue", ["phone: ", "Tel.: ", "mobile ", "Handy ", "call me at ", "fax no. ", "téléphone : ", "WhatsApp "]
)
def test_a_word_before_it_makes_any_number_a_phone_number(cue: str) -> None:
    """A number without the form of a phone number is one if the word before it says so."""
    assert redact(f"{cue}5550123, thanks") == f"{cue}{PHONE_MARK}, thanks"


@pytest.mark.parametrize(
    "text",
    [
        "$1,200,000 in 2026, 10 000 000 next year",
        "1.200.000 € bis 02.03.2026 09:30",
        "EUR 1 250 000 for 1250000 users",
        "from 2026-03-02 to 2026-04-15T10:00:00Z",
        "03/02/2026 14:00, and 2/3/26",
        "order 2024-2025-0017, PO 4500012345, contract 0012345678",
        "invoice 20260302001 of 12.50 EUR",
        "80 % of 300 seats, 99.95% uptime, 1,250 per seat",
        "version 10.2.3333.1, ticket #123456",
        "+15 deals, +20 %, -3",
        "at 9 on the 4th, room 1012, 45 of 60",
    ],
)
def test_amounts_dates_and_counts_stay(text: str) -> None:
    """Scoring needs them."""
    assert redact(text) == text


def _with_check_digit(digits: str) -> str:
    return next(digits + str(check) for check in range(10) if is_card_number(digits + str(check)))


_cards = st.builds(
    lambda first, rest: _with_check_digit(first + rest),
    st.sampled_from("3456"),
    st.text(string.digits, min_size=14, max_size=14),
)


@given(_words, _cards, st.sampled_from(["", " ", "-"]), _words)
def test_a_card_number_becomes_a_mark(before: str, digits: str, separator: str, after: str) -> None:
    """In one piece or in groups of four, anywhere in the text."""
    written = separator.join(digits[start : start + 4] for start in range(0, len(digits), 4))
    assert redact(before + written + after) == before + CARD_MARK + after


@given(_cards, st.integers(0, 9))
def test_a_wrong_check_digit_is_no_card(digits: str, other: int) -> None:
    """Sixteen digits that fail the check are an order number."""
    wrong = digits[:-1] + str(other)
    assert is_card_number(wrong) is (wrong == digits)
    assert redact(f"Order {wrong}.") == (f"Order {CARD_MARK}." if wrong == digits else f"Order {wrong}.")


def test_a_card_is_found_among_other_numbers() -> None:
    """A group of digits before or after it, separated by a blank, does not hide it."""
    assert redact("12 4111 1111 1111 1111 99") == f"12 {CARD_MARK} 99"
    assert redact("5500 0000 0000 0004 4111 1111 1111 1111") == f"{CARD_MARK} {CARD_MARK}"


@example("", "0@A.A.A.A.A.A.A.A.A.COM", "")
@given(_words, st.emails(), _words)
def test_no_address_of_any_form_is_left(before: str, address: str, after: str) -> None:
    """Any valid address is replaced as a whole."""
    assert "@" not in redact(f"{before} {address} {after}")


@given(st.text(string.ascii_letters + " .,;:!?\n'\"€", max_size=300))
def test_text_without_digits_and_at_signs_stays(text: str) -> None:
    """A text of words has nothing to redact."""
    assert redact(text) == text


@given(st.text(string.digits + " +-./()@ab,:", max_size=120))
def test_redacting_twice_is_redacting_once(text: str) -> None:
    """A mark is never part of another match, so redacting again changes nothing."""
    once = redact(text)
    assert redact(redact(once)) == redact(once)


@pytest.mark.parametrize(
    "unit", ["1 ", "a", "a.", "a@a.", "(1", "+1 ", "tel ", "0 1", "4111 ", "1,000", "a (at) ", "1", "@", "phone 1"]
)
def test_text_made_to_be_slow_ends(unit: str) -> None:
    """A pattern that backtracks over a long text would take hours; the suite's own time limit is what fails it."""
    text = unit * (100000 // len(unit))
    assert len(redact(text)) <= len(text) + len(CARD_MARK)
