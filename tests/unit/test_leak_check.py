"""The check for planted secrets: a leak into any output fails the test that leaks, and no other test."""

from collections.abc import Iterator

import pytest

from tests.fixtures.leak_check import leaked_kinds
from tests.fixtures.planted_secrets import REDIS_PASSWORD, planted_secrets

PLUGIN = "tests.fixtures.leak_check"
BEGINNING = """
import logging, subprocess, sys
import pytest
from tests.fixtures.planted_secrets import REDIS_PASSWORD as SECRET
"""
LEAKS = {
    "the log": ("", "logging.getLogger('x').error('at %s', SECRET)", "Captured log call"),
    "standard error": ("", "print(SECRET, file=sys.stderr)", "Captured stderr call"),
    "standard output": ("", "print(SECRET)", "Captured stdout call"),
    "a log file": ("tmp_path", "(tmp_path / 'pipeline.log').write_text('at ' + SECRET)", "pipeline.log"),
    "a log file further down": (
        "tmp_path",
        "(tmp_path / 'stack').mkdir(); (tmp_path / 'stack' / 'server.log').write_text(SECRET)",
        "server.log",
    ),
    "what the test reads itself": ("capsys", "print(SECRET); capsys.readouterr()", "the output that the test read"),
    "a child's output": (
        "",
        "subprocess.run([sys.executable, '-c', f'print({SECRET!r})'], capture_output=True)",
        "the output of a child process",
    ),
}


@pytest.fixture(autouse=True)
def _without_traces(pytester: pytest.Pytester) -> Iterator[None]:
    """Delete the log files in which a test left a secret on purpose: this session's own check reads them too."""
    yield
    for path in pytester.path.parent.rglob(f"{pytester.path.name}/**/*.log"):
        path.unlink()
    for path in pytester.path.parent.rglob(f"tmp-{pytester.path.name}/**/*.log"):
        path.unlink()


def _run(pytester: pytest.Pytester, test: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(BEGINNING + test)
    return pytester.runpytest_inprocess("-p", PLUGIN, "-p", "no:bqemulator", *arguments)  # its plugin needs Docker


@pytest.mark.prints_planted_secret(reason="the inner test leaks in this process: this session's check sees it too")
@pytest.mark.parametrize(("fixture", "statement", "place"), LEAKS.values(), ids=list(LEAKS))
def test_a_leak_fails_the_test(pytester: pytest.Pytester, fixture: str, statement: str, place: str) -> None:
    """The message names the output and the kind of secret; no printed text quotes the secret."""
    result = _run(pytester, f"def test_it({fixture}): {statement}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*Redis' password, in: {place}*"])
    assert REDIS_PASSWORD not in result.stdout.str()


def test_a_leak_under_xdist_fails_the_test(pytester: pytest.Pytester) -> None:
    """The check runs in xdist's workers, and the controller prints the message."""
    result = _run(pytester, "def test_it(): print(SECRET)", "-p", "xdist", "-n", "1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Redis' password, in: Captured stdout call*"])


def test_a_leak_of_a_fixture_is_an_error(pytester: pytest.Pytester) -> None:
    """A secret that is printed in a fixture's setup or teardown is an error of that phase only."""
    fixture = "@pytest.fixture\ndef noisy():\n    print(SECRET)\n    yield\n    print(SECRET, file=sys.stderr)\n"
    result = _run(pytester, f"{fixture}def test_it(noisy): pass")
    result.assert_outcomes(errors=2, passed=0)
    result.stdout.fnmatch_lines(["*in: Captured stdout setup*"])


def test_a_log_that_tests_share_is_read_at_the_end(pytester: pytest.Pytester) -> None:
    """A log file outside every test's `tmp_path`, such as that of a module's server, is checked too."""
    fixture = (
        "@pytest.fixture(scope='module')\ndef server(tmp_path_factory):\n"
        "    (tmp_path_factory.mktemp('server') / 'server.log').write_text(SECRET)\n"
    )
    result = _run(pytester, f"{fixture}def test_it(server): pass")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*in: server.log*"])


def test_a_test_that_leaks_nothing_passes(pytester: pytest.Pytester) -> None:
    """A test passes if it only uses a secret or prints other text, also after a test that leaked."""
    result = _run(pytester, "def test_one(): print(SECRET)\ndef test_two(tmp_path): print('a line'); assert SECRET")
    result.assert_outcomes(failed=1, passed=1)


def test_a_leak_on_purpose_needs_a_reason(pytester: pytest.Pytester) -> None:
    """A marked test passes; a marker without a reason is refused."""
    marked = "@pytest.mark.prints_planted_secret({})\ndef test_it(): print(SECRET)"
    _run(pytester, marked.format("reason='shown to its owner'")).assert_outcomes(passed=1)
    refused = _run(pytester, marked.format(""))
    assert refused.ret == pytest.ExitCode.USAGE_ERROR


def test_a_failed_test_reports_both_errors(pytester: pytest.Pytester) -> None:
    """A test that fails and leaks reports its own error and the leak."""
    result = _run(pytester, "def test_it(): print(SECRET); assert 1 == 2")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert 1 == 2*", "*Redis' password, in: Captured stdout call*"])


def test_every_planted_secret_is_found() -> None:
    """Each secret is found in a line of JSON; a line without secrets has none."""
    for kind, text in planted_secrets():
        assert kind in leaked_kinds(f'{{"message": "at {text}!"}}')
    assert leaked_kinds("the circuit is open; SALESFORCE_SECRET is not set; -----BEGIN PUBLIC KEY-----") == set()
