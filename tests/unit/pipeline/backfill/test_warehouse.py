"""A backfill's accounts: from files and flags, and those that are left."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.backfill.preparation import Selection
from pipeline.backfill.warehouse import left_to_do, read_account_ids
from tests.fixtures.changes import account_id


def test_a_file_has_one_account_per_line(tmp_path: Path) -> None:
    """Ids of 15 and 18 characters are the same; blank lines and comments are skipped; the order is kept."""
    file = tmp_path / "accounts.txt"
    file.write_text(f"# first\n{account_id(2)}\n\n  {account_id(1)[:15]}\t\n{account_id(2)[:15]}\r\n", "utf-8")
    assert read_account_ids(file) == [account_id(2), account_id(1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no account id"),
        ("# none\n", "has no account id"),
        (f"{account_id(1)}\n\nnone\n", "line 3 is 'none'"),
        (f"{account_id(1)}\r\n\r\nnone\r\n", "line 3 is 'none'"),
        (f"{account_id(1)}\x1c{account_id(2)}\n", "line 1"),
        (f"{account_id(1)[:17]}X\n", "line 1"),
        ("006000000000001AAA\n", "line 1"),
    ],
)
def test_an_error_in_a_file_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    """A wrong id is refused before anything is scored."""
    file = tmp_path / "accounts.txt"
    file.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=message):
        read_account_ids(file)


def test_a_file_of_too_many_accounts_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ids are kept in memory."""
    monkeypatch.setattr("pipeline.backfill.warehouse.MAX_ACCOUNTS", 1)
    file = tmp_path / "accounts.txt"
    file.write_text(f"{account_id(1)}\n{account_id(2)}\n", "utf-8")
    with pytest.raises(ValueError, match="at most 1: split it"):
        read_account_ids(file)


def test_accounts_that_are_left_are_split_into_runs() -> None:
    """Done accounts are skipped, none is lost or repeated, and no run is too large."""
    wanted = [account_id(number) for number in range(10)]
    runs = left_to_do(wanted, frozenset(wanted[3:6]), 3, 4)
    assert [len(run) for run in runs] == [3, 2, 2]
    assert [it for run in runs for it in run] == [*wanted[:3], *wanted[6:]]
    assert left_to_do(wanted, frozenset(wanted), 3, 4) == []


@given(st.integers(0, 3_000), st.integers(1, 1_200), st.integers(1, 6))
def test_runs_are_even_and_fill_the_rounds(accounts: int, run_size: int, at_once: int) -> None:
    """Every account is in one run, no run is too large, and the last round is as full as the first."""
    wanted = [str(number) for number in range(accounts)]
    runs = left_to_do(wanted, frozenset(), run_size, at_once)
    assert [it for run in runs for it in run] == wanted
    sizes = [len(run) for run in runs]
    assert all(0 < size <= run_size for size in sizes)
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    assert len(runs) <= at_once or len(runs) % at_once == 0 or len(runs) == accounts


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"everything": True, "where": "rating = 'Hot'"},
        {"file": Path("x"), "where": ""},
        {"everything": True, "file": Path("x")},
    ],
)
def test_accounts_are_named_in_one_way(flags: dict[str, object]) -> None:
    """None or two are an error."""
    with pytest.raises(ValueError, match="expected exactly one"):
        Selection(**flags)  # type: ignore[arg-type] # as the command line gives them
