"""Options that name files in Cloud Storage: read once, at the submission, through Google's client over HTTP."""

import json
import pickle
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from gcp_storage_emulator.server import create_server
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from pipeline.config.options import OptionError, RescoringConfig, command_line, config_from
from transforms.clients import cloud_storage
from transforms.clients.cloud_storage import MAX_FILE_BYTES, CloudFile, CloudFileError
from transforms.clients.gemini_api import fixed_part
from transforms.prompt.prompt import DEFAULT_PROMPT_VERSION, load_instruction

BUCKET: Final = "the-settings"
RULES: Final = "entities:\n  Account:\n    include: [Industry]\nignore: [Task]\n"
PRICES: Final = "models:\n  gemini-3.5-flash-lite: {input: 1.5, cached_input: 0.5, output: 3}\n"
SCHEMA: Final = json.dumps(
    {
        "type": "record",
        "name": "AccountChangeEvent",
        "fields": [
            {"name": "ChangeEventHeader", "type": {"type": "record", "name": "ChangeEventHeader", "fields": []}},
            {"name": "Name", "type": ["null", "string"]},
        ],
    }
)
OPTIONS: Final = ("materiality", "schemas", "prices")


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[storage.Bucket]:
    """Return a bucket of a storage emulator, to which Google's client goes."""
    server = create_server("localhost", 0, in_memory=True, default_bucket=BUCKET)
    with server:
        url = f"http://localhost:{server._api._httpd.server_port}"
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        yield storage.Client(
            project="my-project",
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": url},
        ).bucket(BUCKET)


def _config(*options: str) -> RescoringConfig:
    line = command_line(["--project=my-project", *options], {})
    return config_from(PipelineOptions(line.arguments), line)


def _put(bucket: storage.Bucket, **files: str) -> None:
    for name, content in files.items():
        bucket.blob(name.replace("__", "/")).upload_from_string(content)


def test_files_are_read_once_and_their_content_travels_with_the_job(emulator: storage.Bucket, tmp_path: Path) -> None:
    """The configuration is the one that local files give; it has the content, and no worker asks Cloud Storage."""
    local = {"materiality": tmp_path / "rules.yaml", "schemas": tmp_path / "avro", "prices": tmp_path / "prices.yaml"}
    local["schemas"].mkdir()
    for path, content in (
        (local["materiality"], RULES),
        (local["schemas"] / "a1.avsc", SCHEMA),
        (local["prices"], PRICES),
    ):
        path.write_text(content)
    for name, content in (("conf/rules.yaml", RULES), ("conf/avro/a1.avsc", SCHEMA), ("conf/prices.yaml", PRICES)):
        emulator.blob(name).upload_from_string(content)
    emulator.blob("conf/avro/older/a0.avsc").upload_from_string("not read: in a folder of its own")
    emulator.blob("conf/avro/README.md").upload_from_string("not a schema")
    stored = {"materiality": "conf/rules.yaml", "schemas": "conf/avro", "prices": "conf/prices.yaml"}

    config = _config(*(f"--{name}=gs://{BUCKET}/{path}" for name, path in stored.items()))

    assert config == _config(*(f"--{name}={path}" for name, path in local.items()))
    assert config != _config()
    assert list(config.schemas) == ["a1"]
    for name in stored.values():
        for blob in list(emulator.list_blobs(prefix=name)):
            blob.delete()
    carried = pickle.loads(pickle.dumps((config.materiality, config.schemas, config.price)))  # noqa: S301 - ours
    assert carried == (config.materiality, config.schemas, config.price)
    assert config.price.input == 1.5


@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize("option", OPTIONS)
def test_a_file_that_is_not_there_is_named_with_the_remedy(option: str) -> None:
    """In one line, with the option's path."""
    with pytest.raises(OptionError) as refusal:
        _config(f"--{option}=gs://{BUCKET}/nowhere")
    (told,) = str(refusal.value).splitlines()
    assert told.startswith(f"gs://{BUCKET}/nowhere: ")
    assert "check bucket and name" in told or "create it, with a <schemaId>.avsc" in told


def test_a_file_that_is_too_large_is_refused_before_it_is_read(emulator: storage.Bucket) -> None:
    """Such as an export that was named by mistake."""
    _put(emulator, large="#" * (MAX_FILE_BYTES + 1), largest="#" * MAX_FILE_BYTES)
    with pytest.raises(OptionError, match=f"gs://{BUCKET}/large: can't be read: it has 4,194,305 bytes, and 4,194,304"):
        _config(f"--prices=gs://{BUCKET}/large")
    assert len(CloudFile(f"gs://{BUCKET}/largest").read_bytes()) == MAX_FILE_BYTES


def test_an_invalid_file_is_named_as_a_local_one_is(emulator: storage.Bucket) -> None:
    """With the key and what is wrong; an empty file, too."""
    _put(emulator, rules="entities: 5\n", empty="", avro__a1_avsc="[]")
    emulator.blob("schemas/a1.avsc").upload_from_string("no JSON")
    for option, path, told in (
        ("materiality", "rules", f"gs://{BUCKET}/rules: entities: "),
        ("prices", "empty", f"gs://{BUCKET}/empty: the file is empty"),
        ("schemas", "schemas", f"gs://{BUCKET}/schemas/a1.avsc:1:"),
    ):
        with pytest.raises(OptionError, match=told):
            _config(f"--{option}=gs://{BUCKET}/{path}")


def test_a_folder_of_too_many_files_is_refused(emulator: storage.Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole bucket is no folder of schemas."""
    monkeypatch.setattr(cloud_storage, "MAX_FILES", 2)
    _put(emulator, avro__a="1", avro__b="2")
    assert [file.name for file in CloudFile(f"gs://{BUCKET}/avro").iterdir()] == ["a", "b"]
    _put(emulator, avro__c="3")
    with pytest.raises(OptionError, match=f"gs://{BUCKET}/avro: can't be read: it has more than 2 files"):
        _config(f"--schemas=gs://{BUCKET}/avro")


def test_a_prompt_is_read_once_and_is_another_version_if_its_text_changes(emulator: storage.Bucket) -> None:
    """The instruction travels in the settings of the calls; shadow scores may have one, too."""
    emulator.blob("prompts/v9.md").upload_from_string("Score the accounts.\n")
    gemini = _config(f"--prompt_version=gs://{BUCKET}/prompts/v9.md").gemini
    shadow = _config(f"--shadow_prompt=gs://{BUCKET}/prompts/v9.md").shadow
    assert shadow
    emulator.blob("prompts/v9.md").upload_from_string("Score the accounts well.")
    changed = _config(f"--prompt_version=gs://{BUCKET}/prompts/v9.md").gemini
    assert shadow.gemini == gemini
    assert re.fullmatch(r"v9-[0-9a-f]{8}", gemini.prompt_version)
    assert re.fullmatch(r"v9-[0-9a-f]{8}", changed.prompt_version)
    assert gemini.prompt_version != changed.prompt_version
    carried = pickle.loads(pickle.dumps(gemini))  # noqa: S301 - ours
    assert fixed_part(carried)["systemInstruction"]["parts"] == [{"text": "Score the accounts."}]
    packaged = fixed_part(_config().gemini)["systemInstruction"]["parts"]
    assert packaged == [{"text": load_instruction(DEFAULT_PROMPT_VERSION)}]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("nowhere.md", None, "can't be read: .*check bucket and name"),
        ("empty.md", b" \n", "expected an instruction of 1 to 100,000 characters, not 0"),
        ("long.md", b"x" * 100_001, "expected .*, not 100,001"),
        ("latin.md", b"\xe9", "not UTF-8"),
        ("a:b.md", b"Score.", "expected a file name of letters"),
    ],
)
def test_what_is_no_prompt_is_refused(emulator: storage.Bucket, name: str, content: bytes | None, told: str) -> None:
    """For the score and for the shadow, in one line that names the file."""
    if content is not None:
        emulator.blob(name).upload_from_string(content)
    for option in ("prompt_version", "shadow_prompt"):
        with pytest.raises(OptionError, match=f"gs://{BUCKET}/{name}: {told}") as refusal:
            _config(f"--{option}=gs://{BUCKET}/{name}")
        assert len(str(refusal.value).splitlines()) == 1


@contextmanager
def _server_that_answers(status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, "log in with gcloud"),
        (403, "grant them roles/storage.objectViewer"),
        (404, "check bucket and name"),
        (429, "does not answer"),
        (503, "does not answer"),
    ],
)
def test_a_refusal_says_what_to_do(status: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the status of Cloud Storage's answer; it is asked again for a while where that can help."""
    monkeypatch.setattr(cloud_storage, "_RETRY_SECONDS", 0.5)
    with _server_that_answers(status) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        for option in ("prices", "materiality"):
            with pytest.raises(OptionError, match=f"gs://{BUCKET}/a.yaml: can't be read: .*{told}"):
                _config(f"--{option}=gs://{BUCKET}/a.yaml")
    if status != 404:
        with pytest.raises(OptionError, match="gs://the-settings/avro: can't be read: "):
            _config(f"--schemas=gs://{BUCKET}/avro")


def test_a_server_that_is_down_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is refused."""
    monkeypatch.setattr(cloud_storage, "_RETRY_SECONDS", 0.5)
    with _server_that_answers(200) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    with pytest.raises(CloudFileError, match="does not answer"):
        CloudFile(f"gs://{BUCKET}/a.yaml").read_bytes()


@pytest.mark.parametrize("url", ["gs://b", "gs://the-settings", "gs://the-settings/", "gs://The_Settings/a", "gs:///a"])
def test_a_path_that_names_no_file_is_refused(url: str) -> None:
    """With an example, before anything is asked."""
    with pytest.raises(OptionError, match=r"--prices is '.*': expected a path such as gs://my-bucket/rules\.yaml"):
        _config(f"--prices={url}")
