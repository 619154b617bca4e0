"""The manners of every command: dead endpoints, full disks, closed pipes, signals, widths, `--json`, unknown values.

The commands are those of the app, with the examples of their help, so a new command is tested by itself. They run as
processes, forked from one that has imported everything, except where the start itself is tested.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from google.cloud import pubsub_v1
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.local.credentials import service_account
from pipeline.local.crm.generator import generate_crm
from pipeline.local.stack import LocalStack, load_crm, local_stack
from pipeline.terminal.help_pages import example_lines
from schemas.clock import utc_now
from schemas.failures import ErrorClass
from tests.benchmarks.replay_scored import hold_dead_letters
from tests.e2e.every_command import Row, rows, write_example_files
from tests.fixtures.forked_commands import CLOSED_PIPE, Ended, ForkedCommand
from tests.fixtures.silent_server import NOBODY, SilentServer

PATIENCE_SECONDS: Final = 100.0
"""An answer takes eight seconds and what the machine needs; without limits it took one to ten minutes."""

AT_ONCE: Final = 32
"""Commands that wait for dead endpoints beside each other, which takes no CPU; of the others a few."""

ROWS: Final = rows()
NAMES: Final = [row.name for row in ROWS]
by_row = pytest.mark.parametrize("row", ROWS, ids=NAMES)

SERVERS: Final = frozenset({"demo", "local", "run", "serve"})
"""Commands that go on until they are told to end, or start a stack of their own."""

ONCE: Final = "dead-letters resume"
"""Can be run once on a replay, and waits a minute for what a killed process had pulled; it reports as replay does."""

ONE_BY_ONE: Final = "dead-letters "
"""Commands that take the one lease of replays, or show what these do."""

ENDPOINTS: Final = ("pubsub", "bigquery", "token")
_MORE_ENDPOINTS: Final = {
    "backfill": ["gemini"],
    "doctor": ["gemini"],
    "run": ["gemini"],
    "local fail": ["control"],
    "local heal": ["control"],
}
RIDES_OUT: Final = {
    "backfill": {"gemini"},
    "demo": {"bigquery", "token", "gemini"},
    "local": {"bigquery", "token", "gemini"},
}
"""An outage of these is held by the pipeline (tests/e2e/test_outages.py); demo and local start their own."""

TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")
RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
EXEC: Final = [sys.executable, "-m", "pipeline"]


@dataclass
class Runs:
    """Runs commands against a live stack."""

    stack: LocalStack
    folder: Path
    working_directory: Path
    dead_letter_id: str

    def __post_init__(self) -> None:
        self._turn = threading.RLock()
        self._serial = iter(range(1_000_000))

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a command: nothing of who runs the tests."""
        return {**_own_environment(), **self.stack.environment, **more}

    def typed(self, row: Row, *more: str) -> list[str]:
        """Return the arguments of a row's example, which name what the stack has."""
        replaced = {"4f9d2c81": self.dead_letter_id, "2026-03-02T09:30Z": "10m"}
        return row.typed(*more, project=self.stack.project, **replaced)

    def start(self, arguments: list[str], output: str | None = None, **environment: str) -> ForkedCommand:
        """Start a command; `rescore demo` and `rescore local` have no stack in their environment."""
        folder = self.folder / str(next(self._serial))
        has_own = arguments[0] == "demo" or (arguments[0] == "local" and arguments[1].startswith("-"))
        whole = {**_own_environment(), **environment} if has_own else self.environment(**environment)
        return ForkedCommand(arguments, folder, whole, self.working_directory, output)

    def turn(self, row: Row) -> AbstractContextManager[object]:
        """Return a context in which no other command about replays runs, if this is one."""
        return self._turn if row.name.startswith(ONE_BY_ONE) else nullcontext()

    def run(self, row: Row, arguments: list[str], output: str | None = None, **environment: str) -> Ended:
        """Run a command to its end; those about replays wait for each other if they find the warehouse."""
        finds_it = not {"BIGQUERY_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"} & {*environment}
        with self.turn(row) if finds_it else nullcontext():
            return self.start(arguments, output, **environment).wait(PATIENCE_SECONDS)

    def against(self, endpoint: str, address: str) -> dict[str, str]:
        """Return environment variables by which one endpoint is at another address."""
        if endpoint == "token":
            path = self.folder / f"key-{next(self._serial)}.json"
            path.write_text(json.dumps(service_account(f"http://{address}/token", self.stack.project)))
            return {"GOOGLE_APPLICATION_CREDENTIALS": str(path)}
        variable = {
            "pubsub": ("PUBSUB_EMULATOR_HOST", address),
            "bigquery": ("BIGQUERY_EMULATOR_HOST", f"http://{address}"),
            "gemini": ("GOOGLE_VERTEX_BASE_URL", f"http://{address}"),
            "control": ("LOCAL_STACK_CONTROL", f"http://{address}"),
        }
        return dict([variable[endpoint]])


def _own_environment() -> dict[str, str]:
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in kept if name in os.environ}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Return a stack with accounts and a dead letter of each class, and a folder with the examples' files."""
    folder = tmp_path_factory.mktemp("every-command")
    files = folder / "files"
    files.mkdir()
    write_example_files(files)
    with local_stack(folder / "stack") as stack:
        crm = generate_crm(accounts=len(ErrorClass), seed=6, as_of=utc_now())
        load_crm(stack.warehouse, crm)
        hold_dead_letters(stack, [account.account_id for account in crm.accounts])
        (row,) = stack.warehouse.query("SELECT dead_letter_id FROM account_scoring.dead_letters LIMIT 1")
        yield Runs(stack, folder / "runs", files, row["dead_letter_id"])


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    """Return threads that wait for commands."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        yield threads


@pytest.fixture(scope="module")
def small_pool() -> Iterator[ThreadPoolExecutor]:
    """Return threads that run commands which compute."""
    with ThreadPoolExecutor(3) as threads:
        yield threads


@dataclass(frozen=True)
class Dead:
    """How a command ended when an endpoint never answered, and when nothing listened there."""

    silent: Ended
    silent_address: str
    is_touched: bool
    refused: Ended


DEAD: Final = [
    (row, endpoint)
    for row in ROWS
    for endpoint in (*ENDPOINTS, *_MORE_ENDPOINTS.get(row.name, ()))
    if endpoint not in RIDES_OUT.get(row.name, ())
]


@pytest.fixture(scope="module")
def dead(runs: Runs, pool: ThreadPoolExecutor) -> Mapping[tuple[str, str], "Future[Dead]"]:
    """Start every command against every dead endpoint; they wait beside each other."""

    def run(row: Row, endpoint: str) -> Dead:
        typed = runs.typed(row)
        with SilentServer() as server:
            silent = runs.run(row, typed, **runs.against(endpoint, server.address))
            is_touched = server.touched.is_set()
        refused = runs.run(row, typed, **runs.against(endpoint, NOBODY)) if is_touched else silent
        return Dead(silent, server.address, is_touched, refused)

    return {(row.name, endpoint): pool.submit(run, row, endpoint) for row, endpoint in DEAD}


@pytest.mark.parametrize(("row", "endpoint"), DEAD, ids=[f"{row.name}-{endpoint}" for row, endpoint in DEAD])
def test_a_dead_endpoint_is_one_line(row: Row, endpoint: str, dead: Mapping[tuple[str, str], "Future[Dead]"]) -> None:
    """It names the endpoint and the remedy, whether the endpoint never answers or nothing listens there."""
    ended = dead[row.name, endpoint].result()
    assert "Traceback" not in ended.silent.errors + ended.refused.errors
    if not ended.is_touched:
        return
    for end, address in ((ended.silent, ended.silent_address), (ended.refused, NOBODY)):
        if row.name == "doctor":  # whose result this is
            assert end.code == 1, end
            assert "does not answer" in end.output
            continue
        assert end.code == 2, end
        (line,) = end.lines
        assert line.startswith("rescore: ")
        assert address in line
        assert "check that this machine reaches" in line or "start rescore local again" in line
        assert end.output == ""


RECOVER: Final = ["recover", "--to", "10m", "--drop-unread", "--execute"]


def _snapshots(project: str) -> set[str]:
    with pubsub_v1.SubscriberClient() as client:
        return {it.name for it in client.list_snapshots(project=f"projects/{project}")}


def test_a_recovery_looks_before_it_seeks(runs: Runs) -> None:
    """Without BigQuery it can't say what the seek passes: nothing is done, also with --execute."""
    before = _snapshots(runs.stack.project)
    ended = runs.start(RECOVER, **runs.against("bigquery", NOBODY)).wait(PATIENCE_SECONDS)
    (line,) = ended.lines
    assert (ended.code, ended.output) == (2, "")
    assert f"BigQuery at http://{NOBODY} does not answer" in line
    assert _snapshots(runs.stack.project) == before


def test_a_recovery_that_cannot_be_told_says_how_to_undo_it(runs: Runs) -> None:
    """The snapshot has a name that nobody can guess."""
    before = _snapshots(runs.stack.project)
    ended = runs.start(RECOVER, "/dev/full").wait(PATIENCE_SECONDS)
    (taken,) = _snapshots(runs.stack.project) - before
    name = taken.rsplit("/", 1)[1]
    undo, reason = ended.lines
    assert ended.code == 2
    assert undo.endswith(f"to undo it: rescore recover --to-snapshot {name} --project={runs.stack.project}")
    assert "no space left on device" in reason


@dataclass(frozen=True)
class Alive:
    """How a command ended on the live stack."""

    report: Ended
    as_json: Ended | None
    at_60: Ended
    at_40: Ended
    on_full_disk: Ended
    in_closed_pipe: Ended


ALIVE: Final = [row for row in ROWS if row.name not in {*SERVERS, ONCE}]
by_alive = pytest.mark.parametrize("row", ALIVE, ids=[row.name for row in ALIVE])

REPORTING: Final = [row for row in ALIVE if row.has("--json")]

FOR_PEOPLE: Final = [row for row in ALIVE if row.name != "local changes"]
"""Commands that print for people; the other one prints events, which differ each time."""

CALLING: Final = [row for row in ROWS if row.name not in {"demo", "local", "explain"}]
"""Commands that call a service; the signals of the first two have a test of their own."""


@pytest.fixture(scope="module")
def alive(runs: Runs, small_pool: ThreadPoolExecutor) -> Mapping[str, "Future[Alive]"]:
    """Start every command on the live stack, with every kind of output; a few run beside each other."""

    def run(row: Row) -> Alive:
        plain = [word for word in runs.typed(row) if word != "--json"]
        with runs.turn(row):  # what they report is then the same each time
            return Alive(
                report=runs.run(row, plain, COLUMNS="300"),
                as_json=runs.run(row, [*plain, "--json"]) if row.has("--json") else None,
                at_60=runs.run(row, plain, COLUMNS="60"),
                at_40=runs.run(row, plain, COLUMNS="40"),
                on_full_disk=runs.run(row, plain, "/dev/full"),
                in_closed_pipe=runs.run(row, plain, CLOSED_PIPE),
            )

    return {row.name: small_pool.submit(run, row) for row in ALIVE}


@pytest.mark.parametrize("row", REPORTING, ids=[row.name for row in REPORTING])
def test_json_is_one_document_with_one_form_of_time(row: Row, alive: Mapping[str, "Future[Alive]"]) -> None:
    """Standard output has nothing else, and standard error nothing at all unless the command refuses."""
    ended = alive[row.name].result().as_json
    assert ended
    if ended.code == 2:
        assert len(ended.lines) == 1, ended
        assert ended.output == ""
        return
    assert ended.errors == ""
    times = list(_times(json.loads(ended.output)))
    assert [time for time in times if not RFC_3339.fullmatch(time)] == []


def _times(value: Any, name: str = "") -> Iterator[str]:
    """Yield every text that begins like a time, except in what comes from outside."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in {"payload", "attributes"}:
                yield from _times(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _times(inner, name)
    elif isinstance(value, str) and TIME.match(value):
        yield value


@pytest.mark.parametrize("row", FOR_PEOPLE, ids=[row.name for row in FOR_PEOPLE])
@pytest.mark.parametrize("columns", [60, 40])
def test_narrow_terminals_lose_nothing(row: Row, columns: int, alive: Mapping[str, "Future[Alive]"]) -> None:
    """Every word of the report is there, unbroken: it can be read, and copied."""
    ended = alive[row.name].result()
    narrow = ended.at_60 if columns == 60 else ended.at_40
    wide_words, narrow_words = _words(ended.report.output), _words(narrow.output)
    assert wide_words - narrow_words == set()
    assert narrow.output == "" or not [line for line in narrow.output.splitlines() if line != line.rstrip()]


def _words(text: str) -> set[str]:
    """Return the words, without what differs from run to run: counts, seconds, times, ids of replays."""
    return {word for word in text.split() if not re.search(r"\d", word) or len(word) > 24}


@by_alive
def test_a_full_disk_is_one_line(row: Row, alive: Mapping[str, "Future[Alive]"]) -> None:
    """With the remedy; nothing is lost in silence."""
    ended = alive[row.name].result()
    assert "Traceback" not in ended.on_full_disk.errors
    if ended.report.output:
        assert ended.on_full_disk.code == 2
        assert ended.on_full_disk.lines == [
            "rescore: can't write the output: no space left on device: free some space, or write elsewhere"
        ]


@by_alive
def test_a_closed_pipe_is_silent(row: Row, alive: Mapping[str, "Future[Alive]"]) -> None:
    """As in `rescore … | head -1`: the exit code is that of SIGPIPE, as other programs have it."""
    ended = alive[row.name].result()
    if ended.report.output:
        assert (ended.in_closed_pipe.code, ended.in_closed_pipe.errors) == (141, "")


def _told(arguments: list[str]) -> str:
    """Return the one line with which a command refuses its arguments."""
    done = CliRunner().invoke(app, arguments, prog_name="rescore", env={"GOOGLE_CLOUD_PROJECT": "my-project"})
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith("rescore: ")
    return line


@by_row
def test_an_unknown_option_is_one_line(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the way out: the option that is probably meant, or the help."""
    write_example_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    near = "--verbos"
    assert "did you mean --verbose?" in _told(row.typed(near))
    line = _told(row.typed("--xyzzy"))
    assert "--xyzzy" in line
    assert line.endswith(("--help", "--list-options"))


@by_row
def test_an_unknown_value_is_one_line(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each option that takes a number or one of several values; it names the option and what is expected."""
    write_example_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    for option in row.options:
        is_number = option.type_descriptor.annotation in {int, float}
        if is_number or option.type_descriptor.choices:
            flag = next(name for name in option.opts if name.startswith("--"))
            assert f"{flag} is 'nonsense': expected " in _told(row.typed(f"{flag}=nonsense"))


@by_row
@pytest.mark.parametrize("columns", [120, 99, 80, 60, 40])
def test_help_fits_the_terminal(row: Row, columns: int) -> None:
    """Each option and its plain type are there at any width, and the example in one line, to be copied."""
    environment = {"COLUMNS": str(columns), "TERMINAL_WIDTH": str(columns)}
    for flag in ("-h", "--help"):
        shown = CliRunner().invoke(app, [*row.name.split(), flag], prog_name="rescore", env=environment)
        assert shown.exit_code == 0
        words = set(re.split(r"[\s,]+", shown.output))
        assert {name for option in row.options if not option.hidden for name in option.opts} <= words
        examples = list(example_lines(row.command.epilog or ""))
        assert examples
        lines = [line.strip() for line in shown.output.splitlines()]
        assert [example for example in examples if example not in lines] == []
        assert not [line for line in lines if len(line) > columns and line not in examples]
        assert "…" not in shown.output  # what is cut off can't be copied
        assert not {"<str>", "<int>", "<float>", "<bool>", "<path>"} & words


SIGNALS: Final = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


def _handles_signals(pid: int) -> bool:
    """Return whether a process handles SIGTERM, as the system sees it."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), 16)
    return bool(caught & 1 << (signal.SIGTERM - 1))


def _wait_for(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.002)


@by_row
def test_a_signal_at_the_start_is_silent(row: Row, tmp_path: Path) -> None:
    """From the first moment at which the command handles signals, and at any later one while it imports."""
    if not Path("/proc/self/status").exists():
        pytest.skip("/proc tells when a process handles signals")
    write_example_files(tmp_path)
    environment = {"PATH": os.environ["PATH"], "GOOGLE_CLOUD_PROJECT": "my-project"}
    for number, (kind, code) in enumerate(SIGNALS):
        with subprocess.Popen(
            [*EXEC, *row.typed()],
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            _wait_for(lambda: process.poll() is not None or _handles_signals(process.pid))
            time.sleep(0.02 * number * (NAMES.index(row.name) % 8))  # whenever it comes, the result is the same
            process.send_signal(kind)
            output, errors = process.communicate(timeout=PATIENCE_SECONDS)
        assert (process.returncode, output, errors) == (code, b"", b"")


@pytest.mark.parametrize(("kind", "code"), SIGNALS)
@pytest.mark.parametrize("row", CALLING, ids=[row.name for row in CALLING])
def test_a_signal_during_a_call_is_silent(row: Row, kind: signal.Signals, code: int, runs: Runs) -> None:
    """While the command waits for an endpoint that does not answer."""
    with ExitStack() as held:
        server = held.enter_context(SilentServer())
        endpoints = ("pubsub", "bigquery", "token", "gemini", "control")
        elsewhere = [runs.against(endpoint, server.address) for endpoint in endpoints]
        command = runs.start(runs.typed(row), **{name: value for it in elsewhere for name, value in it.items()})
        _wait_for(server.touched.is_set)
        os.kill(command.pid, kind)
        ended = command.wait(PATIENCE_SECONDS)
    assert (ended.code, ended.output, ended.errors) == (code, "", "")


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT, signal.SIGINT]], ids=str)
@pytest.mark.parametrize("name", ["demo", "local"])
def test_a_signal_ends_a_stack_with_its_processes(name: str, signals: list[signal.Signals], tmp_path: Path) -> None:
    """In silence; one signal also removes the temporary folder, a second one does not wait for that."""
    (row,) = (row for row in ROWS if row.name == name)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PUBSUB_", "BIGQUERY_"))}
    command = [word for word in row.typed() if word not in {"--data-dir", "local"}] if name == "demo" else ["local"]
    with subprocess.Popen(
        [*EXEC, *command],
        env=environment | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        # The warehouse, Gemini, and in the demo the pipeline.
        _wait_for(lambda: process.poll() is not None or len(_children(process.pid)) == (3 if name == "demo" else 2))
        children = _children(process.pid)
        for number in signals:
            process.send_signal(number)
        output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    told = [line for line in errors.decode().splitlines() if not re.match(r"rescore: \d+ s: ", line)]
    assert (process.returncode, output, told) == (128 + signals[0], b"", [])
    _wait_for(lambda: not any(map(_is_running, children)))
    if len(signals) == 1:
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["demo", "local"])
def test_the_processes_of_a_killed_stack_end(name: str, tmp_path: Path) -> None:
    """By SIGKILL, after which the command can end nothing itself."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PUBSUB_", "BIGQUERY_"))}
    with subprocess.Popen(
        [*EXEC, name],
        env=environment | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        _wait_for(lambda: process.poll() is not None or len(_children(process.pid)) == (3 if name == "demo" else 2))
        children = _children(process.pid)
        process.kill()
    assert children
    _wait_for(lambda: not any(map(_is_running, children)))


def _children(pid: int) -> list[int]:
    return [int(stat[0]) for stat in map(_stat, Path("/proc").glob("[0-9]*/stat")) if stat and stat[3] == str(pid)]


def _is_running(pid: int) -> bool:
    stat = _stat(Path(f"/proc/{pid}/stat"))
    return bool(stat) and stat[2] != "Z"


def _stat(path: Path) -> list[str]:
    """Return the fields of a process's status, without blanks in its name; none if it is gone."""
    try:
        before, _, after = path.read_text(encoding="utf-8", errors="replace").rpartition(") ")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [before.partition(" (")[0], "name", *after.split()]
