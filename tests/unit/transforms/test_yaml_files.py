"""YAML files are read strictly, and errors are one line that names the file."""

from pathlib import Path

import pytest

from transforms.yaml_files import FileModel, YamlFileError, load_yaml, read_yaml


class _Inner(FileModel):
    items: list[str]
    day: str = ""


class _File(FileModel):
    inner: dict[str, _Inner]


def _write(folder: Path, content: str | bytes) -> Path:
    path = folder / "file.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_file_becomes_its_model(tmp_path: Path) -> None:
    """Values have YAML's types, except that a date stays text; a byte order mark is skipped."""
    path = _write(tmp_path, b"\xef\xbb\xbfinner:\n  a: {items: [x, 'Yes'], day: 2026-12-31}\n")
    assert read_yaml(path, _File) == _File(inner={"a": _Inner(items=["x", "Yes"], day="2026-12-31")})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", ": the file is empty: add inner"),
        ("# only a comment\n", ": the file is empty"),
        ("inner: " + "[" * 3_000 + "]" * 3_000, ": nested too deeply: remove the nesting"),
        ("inner: {a: {items: [x, 1]}}", ": inner.a.items[1]: expected text, found a number"),
        ("inner: {a: {items: [x], colour: red}}", ": inner.a: unknown key 'colour': expected items, day"),
        ("inner: {a: {item: [x]}}", ": inner.a: unknown key 'item': did you mean items?"),
        ("inner: {a: {items: []}, a: {items: []}}", ":1:25: duplicate key 'a': merge the two entries"),
        ("inner: *other\n", ":1:8: found undefined alias 'other': quote text that starts with *"),
        ("inner: [\n", ":2:1: while parsing a flow node expected the node content"),
        ("inner: !!python/name:os.system\n", ":1:8: could not determine a constructor"),
        ("a\x00b", ": control character U+0000: remove it"),
        (b"inner: B\xfcro", ": not UTF-8: save the file as UTF-8"),
        ("inner: " + "9" * 5_000, ": Exceeds the limit"),
    ],
)
def test_an_unusable_file_is_named(tmp_path: Path, content: str | bytes, problem: str) -> None:
    """The line says where and what is wrong, with line and column for YAML's own errors."""
    path = _write(tmp_path, content)
    with pytest.raises(YamlFileError) as error:
        read_yaml(path, _File)
    assert str(error.value).startswith(f"{path}{problem}")
    assert "\n" not in str(error.value)


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    """A missing file and a folder are reported by their path."""
    with pytest.raises(YamlFileError, match=r"nowhere\.yaml: can't be read: No such file"):
        load_yaml(tmp_path / "nowhere.yaml")
    with pytest.raises(YamlFileError, match="can't be read: Is a directory"):
        load_yaml(tmp_path)
