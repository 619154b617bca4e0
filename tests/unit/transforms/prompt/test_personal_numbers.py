"""IBANs, national ids and cards become marks if their check digits are right."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import iban

from transforms.prompt.personal_numbers import IBAN_MARK, ID_MARK, without_personal_numbers

_DIGITS_OF_ACCOUNTS = {"DE": 18, "AT": 16, "NO": 11, "CZ": 20, "PL": 24}


@given(st.sampled_from(sorted(_DIGITS_OF_ACCOUNTS)), st.data(), st.booleans())
def test_an_iban_becomes_a_mark(country: str, data: st.DataObject, is_grouped: bool) -> None:  # noqa: FBT001 - drawn
    """In one piece or in groups of four; lengths and check digits are those of the country."""
    digits = _DIGITS_OF_ACCOUNTS[country]
    account = data.draw(st.text(string.digits, min_size=digits, max_size=digits))
    number = country + iban.calc_check_digits(f"{country}00{account}") + account
    written = " ".join(number[start : start + 4] for start in range(0, len(number), 4)) if is_grouped else number
    assert without_personal_numbers(f"Pay to {written}, please") == f"Pay to {IBAN_MARK}, please"


def test_a_wrong_check_digit_is_no_iban() -> None:
    """It can be any other reference."""
    assert without_personal_numbers("DE88 3704 0044 0532 0130 00") == "DE88 3704 0044 0532 0130 00"


def test_words_behind_an_iban_stay() -> None:
    """Four letters in capitals behind it are no part of it."""
    assert without_personal_numbers("NO93 8601 1117 947 BANK OSLO") == f"{IBAN_MARK} BANK OSLO"


@pytest.mark.parametrize(
    "number", ["526-01-8159", "841101-4619", "999.814.204-09", "RVMCVR76E27H501R", "78.05.03-439.77"]
)
def test_a_national_id_becomes_a_mark(number: str) -> None:
    """Its form and check digits tell it from other numbers."""
    assert without_personal_numbers(f"the signatory, {number}, signs") == f"the signatory, {ID_MARK}, signs"


@pytest.mark.parametrize(
    "text", ["000-12-3456", "841301-4619", "999.814.204-10", "RVMCVR76E27H501A", "order 526-01-8159"]
)
def test_another_number_of_the_form_stays(text: str) -> None:
    """Its check digit, its date or the word before it says that it is none."""
    assert without_personal_numbers(text) == text
