"""Config sources: the command line wins over the environment, and the environment over the file."""

from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions, WorkerOptions
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.options import OptionError, command_line, config_from
from tests.fixtures.examples import examples


def _file(folder: Path, text: str) -> Path:
    path = folder / "rescoring.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("is_typed", [True, False])
@pytest.mark.parametrize("is_in_environment", [True, False])
@pytest.mark.parametrize("is_in_file", [True, False])
def test_the_nearest_word_counts(tmp_path: Path, is_typed: bool, is_in_environment: bool, is_in_file: bool) -> None:  # noqa: FBT001 - each is a case
    """Command line over environment over file over default; a typed value wins even if it equals the default."""
    file = _file(tmp_path, "project: my-project\n" + ("batch_size: 10\n" if is_in_file else ""))
    line = command_line(
        [f"--config={file}", *(["--batch_size=40"] if is_typed else [])],
        {"RESCORE_BATCH_SIZE": "20"} if is_in_environment else {},
    )
    config = config_from(PipelineOptions(line.arguments), line)
    expected = 40 if is_typed else 20 if is_in_environment else 10 if is_in_file else 40
    assert config.batching.max_accounts == expected


@examples(ordinary=30, slow=500)
@given(st.dictionaries(st.sampled_from(["typed", "environment", "file"]), st.integers(1, 500)))
def test_one_source_never_hides_another_s_other_options(said: dict[str, int]) -> None:
    """The sources are merged option by option."""
    names = {"typed": "batch_size", "environment": "batch_shards", "file": "accounts_per_call"}
    environment = {"GOOGLE_CLOUD_PROJECT": "my-project"}
    if "environment" in said:
        environment["RESCORE_BATCH_SHARDS"] = str(said["environment"])
    typed = [f"--batch_size={said['typed']}"] if "typed" in said else []
    line = command_line(typed, environment)
    config = config_from(PipelineOptions(line.arguments), line)
    assert config.batching.max_accounts == said.get("typed", 40)
    assert config.batch_shards == said.get("environment", 1)
    assert set(line.origins) == {"project", *([names["environment"]] if "environment" in said else [])}


def test_beam_s_own_options_come_from_everywhere_too(tmp_path: Path) -> None:
    """A file can hold flags, lists and null, in addition to texts and numbers."""
    file = _file(
        tmp_path,
        "project: my-project\nregion: europe-west1\nstreaming: true\nupdate: false\nno_use_public_ips: true\n"
        "labels: [team=revops, stage=staging]\nnum_workers: 3\nshadow_model: null\n",
    )
    line = command_line([], {"RESCORE_CONFIG": str(file), "RESCORE_NUM_WORKERS": "5", "RESCORE_UPDATE": "true"})
    options = PipelineOptions(line.arguments)
    google, worker = options.view_as(GoogleCloudOptions), options.view_as(WorkerOptions)
    assert (google.project, google.region) == ("my-project", "europe-west1")
    assert google.labels == ["team=revops", "stage=staging"]
    assert worker.num_workers == 5
    assert worker.use_public_ips is False
    assert google.update is True
    assert options.view_as(StandardOptions).streaming is True
    assert config_from(options, line).shadow is None


def test_the_project_is_google_s_variable(tmp_path: Path) -> None:
    """GOOGLE_CLOUD_PROJECT sets the project, as for other commands; RESCORE_PROJECT wins over it."""
    of_google = {"GOOGLE_CLOUD_PROJECT": "their-project"}
    assert command_line([], of_google).arguments == ["--project=their-project"]
    assert command_line([], of_google | {"RESCORE_PROJECT": "our-project"}).arguments == ["--project=our-project"]
    file = _file(tmp_path, "project: file-project\n")
    assert command_line([f"--config={file}"], of_google).arguments == ["--project=their-project"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a: [1", ":1:6: while parsing a flow sequence"),
        (b"model: x\n\tlocation: y\n", ":2:1: while scanning"),
        (b"model: x\nmodel: y\n", ":2:1: duplicate key 'model': merge the two entries"),
        (b"[]\n", "expected a mapping of option names to values"),
        (b"- model\n", "expected a mapping of option names to values"),
        (b"\xff\xfe\x00", "not UTF-8: save the file as UTF-8"),
        (b"colour: blue\n", "colour is not an option: see rescore run --list-options"),
        (b"acounts_per_call: 5\n", "acounts_per_call is not an option: did you mean accounts_per_call?"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    """The message names the file, the place in it and the remedy."""
    path = tmp_path / "rescoring.yaml"
    path.write_bytes(content)
    (problem,) = command_line([f"--config={path}"], {}).problems
    assert told in problem
    assert str(path) in problem


def test_a_file_that_is_not_there_is_told() -> None:
    """A missing file is an error, not an empty file."""
    line = command_line(["--config=nowhere.yaml"], {"GOOGLE_CLOUD_PROJECT": "my-project"})
    with pytest.raises(OptionError, match=r"--config: nowhere\.yaml: can't be read: No such file"):
        config_from(PipelineOptions(line.arguments), line)
