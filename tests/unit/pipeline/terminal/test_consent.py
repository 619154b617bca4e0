"""Plans: who can agree to one, and what is printed otherwise."""

import json
import sys

import pytest

from pipeline.terminal.consent import NOT_DONE, agreed


class _Plan:
    def document(self) -> dict[str, bool]:
        """Return what --json prints."""
        return {"executed": False}


def _agreed(question: str | None = "Act now?", *, as_json: bool = False) -> bool:
    return agreed(_Plan(), lambda _plan: "the plan", question, as_json=as_json)


def _on_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make standard input and output a terminal; pytest replaces both before each test."""
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


def test_a_person_at_a_terminal_is_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The plan is shown first; if the answer is no, or there is nothing to do, nothing is done, and that is said."""
    _on_terminal(monkeypatch)
    answers = {"Act now?": True, "Really?": False}
    monkeypatch.setattr("typer.confirm", answers.pop)
    assert _agreed()
    assert capsys.readouterr().out == "the plan\n"
    assert not _agreed("Really?")
    assert not _agreed(None)
    assert capsys.readouterr().out == f"the plan\n{NOT_DONE}\n" * 2
    assert not answers


def test_a_script_is_not_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """It gets the plan, and how to have it carried out."""
    assert not _agreed()
    assert capsys.readouterr().out == f"the plan\n{NOT_DONE}\n"


def test_json_is_one_document(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Also on a terminal: nothing is asked."""
    _on_terminal(monkeypatch)
    assert not _agreed(as_json=True)
    assert json.loads(capsys.readouterr().out) == {"executed": False}
