"""A stack is whole: what a shell's variables say about another one, and how a stack hands its own on."""

import shlex
import socket
import subprocess
from pathlib import Path

import pytest

from pipeline.local.shell_exports import (
    check_exports_file,
    dot_name,
    export_lines,
    other_pubsub,
    read_exports,
    stack_of_shell,
    what_is_found,
    written_exports,
)

GOOGLES = {"PUBSUB_EMULATOR_HOST": "127.0.0.1:8085"}
EXPORTS = {
    "GOOGLE_CLOUD_PROJECT": "account-scoring-local",
    "PUBSUB_EMULATOR_HOST": "127.0.0.1:41861",
    "BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:41862",
    "GOOGLE_VERTEX_BASE_URL": "http://127.0.0.1:41863",
}


def test_a_shell_without_emulators_says_nothing() -> None:
    """The new stack has a broker of its own."""
    assert what_is_found({"HOME": "/root", "PUBSUB_EMULATOR_HOST": ""}) is None
    assert other_pubsub({}) is None


def test_an_emulator_alone_is_used() -> None:
    """PUBSUB_EMULATOR_HOST alone names Google's emulator, say; the command says that it uses it."""
    for shell in (GOOGLES, GOOGLES | {"RESCORE_RUNNER": "DirectRunner"}):
        assert other_pubsub(shell) == "127.0.0.1:8085"
    assert "127.0.0.1:8085" in str(what_is_found(GOOGLES))


@pytest.mark.parametrize("name", sorted(EXPORTS.keys() - {"GOOGLE_CLOUD_PROJECT", "PUBSUB_EMULATOR_HOST"}))
def test_a_part_of_a_stacks_exports_is_enough(name: str) -> None:
    """Nothing of that stack is used, also if only some of its exports were pasted; the command says so."""
    for shell in (EXPORTS, GOOGLES | {name: EXPORTS[name]}):
        assert stack_of_shell(shell) == shell["PUBSUB_EMULATOR_HOST"]
        assert other_pubsub(shell) is None
        assert shell["PUBSUB_EMULATOR_HOST"] in str(what_is_found(shell))


@pytest.mark.parametrize("name", ["stack.env", "it's here.env", "$HOME.env"])
def test_a_shell_reads_what_was_written(tmp_path: Path, name: str) -> None:
    """Every value comes back as it was, whatever characters it has, and whatever the file is called."""
    exports = EXPORTS | {"ODD": "a b'c\"$HOME\\"}
    file = tmp_path / name
    with written_exports(file, exports):
        assert file.stat().st_mode & 0o777 == 0o600
        script = f'. {dot_name(Path(name))}; printf "%s\\n" "$PUBSUB_EMULATOR_HOST" "$ODD"'
        done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [exports["PUBSUB_EMULATOR_HOST"], exports["ODD"]]


def test_the_file_ends_with_the_stack(tmp_path: Path) -> None:
    """Otherwise a shell could point to a stack that is gone; another stack's file stays."""
    file = tmp_path / "stack.env"
    with written_exports(file, EXPORTS):
        assert file.read_text() == export_lines(EXPORTS)
    assert list(tmp_path.iterdir()) == []
    with written_exports(file, EXPORTS), written_exports(file, GOOGLES):
        assert file.read_text() == export_lines(GOOGLES)
    with written_exports(file, EXPORTS):
        file.write_text(export_lines(GOOGLES))
    assert file.read_text() == export_lines(GOOGLES)


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """And leaves nothing behind."""
    (tmp_path / "stack.env").mkdir()
    with pytest.raises(OSError, match=r"stack\.env"), written_exports(tmp_path / "stack.env", EXPORTS):
        pytest.fail("it was written")
    assert [path.name for path in tmp_path.iterdir()] == ["stack.env"]


def test_the_file_of_a_running_stack_is_refused(tmp_path: Path) -> None:
    """A shell that reads it means that stack; the file of one that is gone is written anew."""
    file = tmp_path / "stack.env"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        file.write_text(export_lines(EXPORTS | {"LOCAL_STACK_CONTROL": f"{address}/secret"}))
        with pytest.raises(ValueError, match=r"stack\.env points to a local stack that runs .*: end that one, or name"):
            check_exports_file(file)
    check_exports_file(file)
    check_exports_file(tmp_path / "new.env")


@pytest.mark.parametrize("text", ["# notes\n", "export A='\n", "export A=1 B=2\n", "PATH=/bin\n", "export A\n"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    """A slip in the name of the file loses nothing; an empty file has nothing to lose."""
    file = tmp_path / "notes.md"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"notes\.md has other lines than a local stack's exports: name another file"):
        check_exports_file(file)
    assert file.read_text() == text
    file.write_text("")
    check_exports_file(file)


def test_exports_are_read_as_they_are_written() -> None:
    """Whatever characters the values have."""
    exports = EXPORTS | {"ODD": "a b'c\"$HOME\\="}
    assert read_exports(export_lines(exports)) == exports


def test_names_are_quoted_for_a_shell() -> None:
    """The command `.` looks up a name without a slash on the PATH."""
    assert dot_name(Path("stack.env")) == "./stack.env"
    assert shlex.split(dot_name(Path("/a folder/stack.env"))) == ["/a folder/stack.env"]
