"""Salesforce ids: forms, checksum, and ids that do not identify a record."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.salesforce_ids import id_checksum, names_no_record, normalize_account_id, normalize_record_id

ID_15 = st.text("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=15, max_size=15)


@pytest.mark.parametrize(
    "id_18", ["0015f00002J9YYEAA3", "0017Q00000EiRcfQAF", "0057Q000002aGVkQAM", "003bm000016htgPAAQ"]
)
def test_published_ids_pass(id_18: str) -> None:
    """Ids of real published events are unchanged, and their 15-character form gives the same id."""
    assert normalize_record_id(id_18) == id_18
    assert normalize_record_id(id_18[:15]) == id_18


@given(ID_15)
def test_both_forms_are_one_record(id_15: str) -> None:
    """The 15- and the 18-character form of any id, with its checksum in either case, are normalised to the same."""
    id_18 = id_15 + id_checksum(id_15)
    assert normalize_record_id(id_15) == id_18 == normalize_record_id(id_18)
    assert normalize_record_id(id_15 + id_18[15:].lower()) == id_18


@given(ID_15, st.integers(0, 14))
def test_a_change_of_case_breaks_the_checksum(id_15: str, index: int) -> None:
    """An id whose case was changed is refused, not taken for another record."""
    swapped = id_15[:index] + id_15[index].swapcase() + id_15[index + 1 :]
    if swapped == id_15:
        assert normalize_record_id(swapped + id_checksum(id_15))
    else:
        with pytest.raises(ValueError, match="checksum"):
            normalize_record_id(swapped + id_checksum(id_15))


@pytest.mark.parametrize(
    "text", ["", "001", "0015f00002J9YYEA", "0015f00002J9YYEAA3X", "0015f00002J9YY-AA3", "\uff10" * 15]
)
def test_invalid_ids_are_refused(text: str) -> None:
    """Text of another length or alphabet is refused; the message says what is expected."""
    with pytest.raises(ValueError, match="15 or 18"):
        normalize_record_id(text)


def test_a_foreign_prefix_is_no_account() -> None:
    """A Contact's id is refused where an Account's id is expected."""
    with pytest.raises(ValueError, match="001"):
        normalize_account_id("003bm000016htgPAAQ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("001*", True),
        ("000000000000000AAA", True),
        ("000000000000000", True),
        ("0015f00002J9YYEAA3", False),
        ("*", False),
    ],
)
def test_wildcards_and_the_overflow_dummy_name_no_record(text: str, expected: bool) -> None:  # noqa: FBT001 - a case
    """A wildcard and the dummy id of an overflow stand for an entity, not for a record."""
    assert names_no_record(text) is expected
