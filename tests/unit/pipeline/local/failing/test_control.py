"""The control of a running stack takes orders of those who have its exports."""

from collections.abc import Iterator, Mapping

import pytest
import requests

from pipeline.local.failing.control import served_control
from pipeline.local.failing.control_client import ask_to_fail, ask_to_heal
from pipeline.local.failing.failing_services import FailingServices
from pipeline.local.failing.failures import Failure, Service
from pipeline.local.shell_exports import CONTROL


class _Switch:
    def __init__(self) -> None:
        self.now = "works"

    def fail(self, failure: Failure, only: str | None) -> None:
        self.now = f"{failure.name}, {only}" if only else failure.name

    def heal(self) -> None:
        self.now = "works"


class _Broken(_Switch):
    def heal(self) -> None:
        raise RuntimeError("it did not start: see its log")


@pytest.fixture
def gemini() -> _Switch:
    """Return a service that fails when it is told to."""
    return _Switch()


@pytest.fixture
def exports(gemini: _Switch) -> Iterator[Mapping[str, str]]:
    """Return the exports of a running control, of Gemini and of a BigQuery that stays broken."""
    switches = {Service.GEMINI: gemini, Service.BIGQUERY: _Broken()}
    with FailingServices(switches, lambda _line: None) as services, served_control(services) as served:
        yield served


def test_a_service_fails_and_works_again(exports: Mapping[str, str], gemini: _Switch) -> None:
    """The answers say what happens and until when, and what has ended."""
    told = ask_to_fail(exports, "gemini", "blocked", seconds=60, only="Müller & Söhne")
    assert gemini.now == "blocked, Müller & Söhne"
    assert "blocks every answer" in told["effect"]
    assert told["until"].endswith("Z")
    assert ask_to_heal(exports) == ["gemini blocked"]
    assert gemini.now == "works"
    assert ask_to_heal(exports) == []


@pytest.mark.parametrize(
    ("service", "failure", "only", "said"),
    [("gemini", "505", None, "did you mean"), ("redis", "down", None, "Redis"), ("bigquery", "down", "x", "--only")],
)
def test_what_it_cannot_do_is_said(
    exports: Mapping[str, str], service: str, failure: str, only: str | None, said: str
) -> None:
    """In the words of the stack, which the command prints."""
    with pytest.raises(ValueError, match=said):
        ask_to_fail(exports, service, failure, seconds=60, only=only)


def test_a_service_that_stays_broken_is_said(exports: Mapping[str, str]) -> None:
    """With the reason."""
    ask_to_fail(exports, "bigquery", "down", seconds=60, only=None)
    with pytest.raises(ValueError, match="see its log"):
        ask_to_heal(exports)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_others_have_no_access(exports: Mapping[str, str], gemini: _Switch, method: str) -> None:
    """The address without the secret is not found."""
    ask_to_fail(exports, "gemini", "503", seconds=60, only=None)
    address = exports[CONTROL].rpartition("/")[0]
    for path in ("failures", "x" * 22 + "/failures"):
        asked = {"service": "gemini", "failure": "500", "seconds": "60"}
        assert requests.request(method, f"{address}/{path}", params=asked, timeout=30).status_code == 404
    assert gemini.now == "503"


def test_a_shell_without_a_stack_is_told_the_way() -> None:
    """Without exports, with those of a stack that has ended, and with another server at its address."""
    with pytest.raises(ValueError, match="paste the exports"):
        ask_to_heal({})
    with (
        FailingServices({}, lambda _line: None) as services,
        served_control(services) as served,
        pytest.raises(ValueError, match="is gone"),
    ):
        ask_to_heal({CONTROL: served[CONTROL] + "x"})
    with pytest.raises(RuntimeError, match="does not answer"):
        ask_to_heal(served)
