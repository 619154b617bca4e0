"""Phone numbers of many countries become marks; numbers of business stay."""

import pytest

from transforms.prompt.phone_numbers import PHONE_MARK, without_phone_numbers


@pytest.mark.parametrize("number", ["91 234 56 78", "98765 43210", "138 0013 8000", "347 123 4567", "11 91234-5678"])
def test_a_national_number_without_a_prefix_is_found_by_its_groups(number: str) -> None:
    """It is valid in a country that writes numbers in these groups."""
    assert without_phone_numbers(f"I am at {number}, until five") == f"I am at {PHONE_MARK}, until five"


@pytest.mark.parametrize("number", ["22 12 34 56", "601 234 567"])
def test_a_number_on_a_line_of_its_own_may_be_a_phone_number(number: str) -> None:
    """As in a signature. Within a sentence the same groups can be counts."""
    assert without_phone_numbers(f"Kim Berg\n{number}\nOslo") == f"Kim Berg\n{PHONE_MARK}\nOslo"
    assert without_phone_numbers(f"lots of {number} units") == f"lots of {number} units"


@pytest.mark.parametrize(
    "label", ["order", "PO", "Invoice no.", "Rechnung Nr.", "SKU", "pedido", "facture n°", "ticket #"]
)
@pytest.mark.parametrize("number", ["030 445 566", "415-220-9981", "98765 43210", "0171-3920123"])
def test_an_order_number_is_no_phone_number(label: str, number: str) -> None:
    """The word before it says what it is."""
    assert without_phone_numbers(f"Your {label} {number} is open") == f"Your {label} {number} is open"


def test_a_word_before_it_wins_over_its_form() -> None:
    """Groups of three are an amount, unless somebody is to be called."""
    assert without_phone_numbers("We sold 601 234 567 pieces") == "We sold 601 234 567 pieces"
    assert without_phone_numbers("Call me at 601 234 567") == f"Call me at {PHONE_MARK}"
    assert without_phone_numbers("601 234 567 is my number") == f"{PHONE_MARK} is my number"
