"""CSV that a spreadsheet reads as values."""

import csv
import datetime as dt
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.terminal.csv_output import FORMULA_STARTS, print_csv, safe_cell


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1))
def test_no_text_is_a_formula_and_each_row_is_a_line(rows: list[tuple[str, str]]) -> None:
    """Whatever the texts are, a reader of CSV finds as many rows and cells, and none starts like a formula."""
    file = io.StringIO()
    print_csv(("a", "b"), rows, to=file)
    assert file.getvalue().count("\n") == len(rows) + 1
    read = list(csv.reader(io.StringIO(file.getvalue())))[1:]
    assert len(read) == len(rows)
    for row in read:
        assert all(cell.lstrip()[:1] not in set(FORMULA_STARTS) for cell in row)
        assert all(char.isprintable() for cell in row for char in cell)


@pytest.mark.parametrize(
    ("value", "cell"), [(-3, -3), (0.5, 0.5), (None, None), (True, True), ("-3", "'-3"), ("a", "a")]
)
def test_numbers_stay_numbers(value: object, cell: object) -> None:
    """A negative number is no formula; a text that looks like one could be."""
    assert safe_cell(value) == cell


def test_times_are_rfc_3339() -> None:
    """In UTC."""
    assert safe_cell(dt.datetime(2026, 3, 2, 10, tzinfo=dt.timezone(dt.timedelta(hours=1)))) == ("2026-03-02T09:00:00Z")


def test_without_a_file_it_is_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing else."""
    print_csv(("a", "b"), [("x", 1)])
    assert capsys.readouterr().out == "a,b\nx,1\n"
