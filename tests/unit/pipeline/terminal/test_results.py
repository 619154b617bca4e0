"""How a command prints its result, and the code it exits with."""

import datetime as dt
import json
from typing import Any

import pytest
import typer

from pipeline.terminal.results import end_with


class _Result:
    def document(self) -> dict[str, Any]:
        """Return JSON values and a time."""
        return {"b": 1, "a": [], "at": dt.datetime(2026, 3, 2, tzinfo=dt.UTC), "name": "Zürich"}


def _render(_result: _Result) -> str:
    return "a report"


def test_json_is_one_document_in_its_own_order(capsys: pytest.CaptureFixture[str]) -> None:
    """Indented by two, escaped to ASCII, times in RFC 3339, and a line break at the end."""
    end_with(_Result(), _render, as_json=True)
    output = capsys.readouterr().out
    assert output == '{\n  "b": 1,\n  "a": [],\n  "at": "2026-03-02T00:00:00Z",\n  "name": "Z\\u00fcrich"\n}\n'
    assert list(json.loads(output)) == ["b", "a", "at", "name"]


def test_without_json_the_report_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing else."""
    end_with(_Result(), _render, as_json=False)
    assert capsys.readouterr().out == "a report\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_a_result_that_is_not_ok_exits_with_1(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:  # noqa: FBT001
    """After it was printed."""
    with pytest.raises(typer.Exit) as ended:
        end_with(_Result(), _render, as_json=as_json, is_ok=False)
    assert ended.value.exit_code == 1
    assert capsys.readouterr().out
