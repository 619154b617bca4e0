"""State and shuffled records of other releases are read: older ones after an update, newer ones after a rollback."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from schemas.record import Record
from tests.fixtures.golden_bytes import FOLDER, examples, lines
from transforms.coders import RecordCoder

EXAMPLES: Final[Mapping[str, Record]] = examples()
RELEASES: Final = sorted(FOLDER.glob("*.jsonl"), key=lambda path: tuple(map(int, path.stem.split("."))))
OF_VALUES: Final = frozenset({"values", "enriched", "attributes", "records", "facts", "changed", "elsewhere"})
"""Mappings whose keys are data, not fields."""


def _written(path: Path) -> dict[str, str]:
    documents = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {document["example"]: document["bytes"] for document in documents}


def test_the_newest_release_wrote_what_is_written_now() -> None:
    """A changed format gets a file of its own when it is released; until then, write the newest one again."""
    assert _written(RELEASES[-1]) == {line["example"]: line["bytes"] for line in map(json.loads, lines())}


def test_every_record_that_a_job_keeps_has_an_example() -> None:
    """Those with a coder in the registry or in a state's specification."""
    kept = {type(record).__name__ for record in EXAMPLES.values()}
    source = "".join(path.read_text(encoding="utf-8") for path in (FOLDER.parents[2] / "transforms").rglob("*.py"))
    stated = {name for name in _records() if f"RecordCoder({name})" in source}
    registered = {"AccountChange", "DeadLetter", "Outcome", "Score", "ScoredChange", "ScoringResult"}
    registered |= {"Sighting", "UnnamedChange", "Wanted"}
    assert stated | registered <= kept


def _records(of: type[Record] = Record) -> Iterator[str]:
    for kind in of.__subclasses__():
        yield kind.__name__
        yield from _records(kind)


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.stem)
@pytest.mark.parametrize("name", EXAMPLES)
def test_bytes_of_each_release_are_read(name: str, release: Path) -> None:
    """An update reads what the job before it wrote."""
    if (written := _written(release).get(name)) is not None:
        decoded = RecordCoder(type(EXAMPLES[name])).decode(written.encode())
        assert isinstance(decoded, type(EXAMPLES[name]))


@pytest.mark.parametrize("name", EXAMPLES)
def test_fields_of_a_newer_release_are_ignored(name: str) -> None:
    """After a rollback, state has fields that this release does not know, at any depth."""
    record = EXAMPLES[name]
    newer = _with_new_fields(json.loads(RecordCoder(type(record)).encode(record)))
    assert RecordCoder(type(record)).decode(json.dumps(newer).encode()) == record


def _with_new_fields(value: Any, *, is_data: bool = False) -> Any:
    if isinstance(value, list):
        return [_with_new_fields(item) for item in value]
    if not isinstance(value, dict):
        return value
    added = {} if is_data else {"added_by_a_newer_release": {"a": [1]}}
    return {name: _with_new_fields(item, is_data=name in OF_VALUES) for name, item in value.items()} | added


@pytest.mark.parametrize("name", EXAMPLES)
def test_fields_that_an_older_release_did_not_write_get_their_defaults(name: str) -> None:
    """Each field with a default may be missing."""
    record = EXAMPLES[name]
    written = json.loads(RecordCoder(type(record)).encode(record))
    for field in msgspec.structs.fields(type(record)):
        if not field.required:
            older = {key: value for key, value in written.items() if key != field.encode_name}
            decoded = RecordCoder(type(record)).decode(json.dumps(older).encode())
            default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
            assert getattr(decoded, field.name) == default
