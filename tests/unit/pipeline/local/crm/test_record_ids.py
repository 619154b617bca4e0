"""Ids that are made up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.local.crm import record_ids
from pipeline.local.crm.record_ids import named_record_id, numbered_record_id
from schemas.salesforce_ids import normalize_account_id, normalize_record_id

PREFIXES = st.sampled_from(["001", "003", "005", "006", "00Q", "00T", "00U", "02s"])


@given(prefix=PREFIXES, number=st.integers(0, 62**5 - 1), seed=st.integers(0, 2**70))
def test_a_numbered_id_is_valid(prefix: str, number: int, seed: int) -> None:
    """Any number under any seed gives an 18-character id of that object, with a right checksum."""
    record_id = numbered_record_id(prefix, number, seed=seed)
    assert normalize_record_id(record_id) == record_id
    assert record_id.startswith(prefix)


@given(first=st.integers(0, 62**5 - 1), second=st.integers(0, 62**5 - 1), seed=st.integers(0, 1000))
def test_two_numbers_never_share_an_id(first: int, second: int, seed: int) -> None:
    """Ids are equal where the numbers are, and nowhere else."""
    ids = [numbered_record_id(record_ids.ACCOUNT, number, seed=seed) for number in (first, second)]
    assert (ids[0] == ids[1]) == (first == second)


@given(name=st.text())
def test_a_name_hashes_to_a_valid_id(name: str) -> None:
    """Any text names an account's id, and always the same one."""
    record_id = named_record_id(record_ids.ACCOUNT, name)
    assert normalize_account_id(record_id) == record_id
    assert named_record_id(record_ids.ACCOUNT, name) == record_id


@pytest.mark.parametrize("names", [("Acme", "acme"), ("a", ""), ("Acme", "Acme ")])
def test_similar_names_have_different_ids(names: tuple[str, str]) -> None:
    """Case and blanks tell names apart."""
    assert named_record_id("001", names[0]) != named_record_id("001", names[1])
