"""The Flex Template: metadata equals the options, the image has the tested versions, the launcher is not root."""

import re
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
    WorkerOptions,
)
from packaging.requirements import Requirement
from pydantic import Field

from pipeline.config.options import command_line, config_from
from pipeline.config.options_help import options_help
from pipeline.config.settings import Settings
from pipeline.config.template_metadata import BEAM_PARAMETERS, document, metadata, parameters
from pipeline.run import DEFAULT_ARGUMENTS

ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "infrastructure" / "flex_template"
PARAMETERS: dict[str, dict[str, Any]] = {entry["name"]: entry for entry in metadata()["parameters"]}


def test_committed_metadata_is_what_the_options_say() -> None:
    """A new option or default changes the template's metadata; `make generate` writes it."""
    assert (TEMPLATE / "metadata.json").read_text(encoding="utf-8") == document()


def test_every_option_with_a_value_is_a_parameter() -> None:
    """The template has every option that `rescore run --list-options` prints."""
    listed = set(re.findall(r"^  --(\w+) (?=\S)", options_help(), flags=re.MULTILINE))
    assert listed - {"config"} == set(PARAMETERS) - set(BEAM_PARAMETERS)


@pytest.mark.parametrize(
    ("name", "value", "kind", "parsed"),
    [
        ("number_of_worker_harness_threads", "24", DebugOptions, 24),
        (
            "dataflow_service_options",
            "min_num_workers=2,worker_utilization_hint=0.5,graph_validate_only",
            GoogleCloudOptions,
            ["min_num_workers=2", "worker_utilization_hint=0.5", "graph_validate_only"],
        ),
        ("experiments", "enable_data_sampling,no_use_multiple_sdk_containers", DebugOptions, None),
        ("resource_hints", "max_active_bundles_per_worker=24", StandardOptions, ["max_active_bundles_per_worker=24"]),
        ("default_sdk_harness_log_level", "DEBUG", WorkerOptions, "DEBUG"),
        (
            "sdk_harness_log_level_overrides",
            '{"transforms.score": "DEBUG", "urllib3":"ERROR"}',
            WorkerOptions,
            {"transforms.score": "DEBUG", "urllib3": "ERROR"},
        ),
        ("element_processing_timeout_minutes", "70", WorkerOptions, 70),
        ("max_cache_memory_usage_mb", "100", WorkerOptions, 100),
    ],
)
def test_beams_own_options_reach_beam(name: str, value: str, kind: type[PipelineOptions], parsed: Any) -> None:
    """A parameter of the template passes through the launcher's command line, and Beam reads it as meant."""
    (pattern,) = PARAMETERS[name]["regexes"]
    assert re.search(pattern, value)
    line = command_line(["--project=my-project", f"--{name}={value}"], {})
    assert not line.problems
    options = PipelineOptions([*DEFAULT_ARGUMENTS, *line.arguments])
    assert getattr(options.view_as(kind), name) == (value.split(",") if parsed is None else parsed)
    assert config_from(options, line)


def test_every_option_of_beam_in_the_template_is_tested() -> None:
    """The test above has a case for each."""
    (cases,) = (mark for mark in test_beams_own_options_reach_beam.pytestmark if mark.name == "parametrize")
    assert {name for name, *_ in cases.args[1]} == set(BEAM_PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_says_what_it_is(name: str) -> None:
    """Each parameter is described, and its default matches its pattern and the pipeline's default."""
    entry = PARAMETERS[name]
    assert len(entry["helpText"]) >= 10
    assert entry["label"]
    (pattern,) = entry["regexes"]
    if "defaultValue" in entry:
        assert re.search(pattern, entry["defaultValue"])
        options = PipelineOptions(["--project=my-project", f"--{name}={entry['defaultValue']}"])
        assert config_from(options) == config_from(PipelineOptions(["--project=my-project"]))


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("subscription", "projects/my-project/subscriptions/account-changes", "projects/p/topics/account-changes"),
        ("subscription", "account-changes-rescoring", "a b"),
        ("dead_letter_topic", "projects/my-project/topics/dead", "projects/my-project/subscriptions/dead"),
        ("dataset", "account_scoring", "my-project.account_scoring"),
        ("crm_dataset", "crm", "crm.accounts.x"),
        ("crm_dataset", "other-project.crm", "Other.crm"),
        ("model", "gemini-3.5-flash-lite", "Gemini; DROP"),
        ("location", "europe-west1", "Europe"),
        ("accounts_per_call", "5", "0"),
        ("accounts_per_call", "12", "-3"),
        ("batch_wait_seconds", "0.5", "1e9"),
        ("salesforce_login_url", "https://acme.my.salesforce.com", "http://acme.my.salesforce.com"),
        ("salesforce_secret", "projects/my-project/secrets/salesforce/versions/latest", "hunter2-the-secret-itself"),
        ("salesforce_auth", "client_credentials", "password"),
        ("dataflow_service_options", "min_num_workers=2,worker_utilization_hint=0.5", "min_num_workers=2;rm"),
        ("materiality", "gs://my-bucket/rules/materiality.yaml", "materiality.yaml"),
        ("prompt_version", "gs://my-bucket/prompts/v9.md", "prompts/v9.md"),
        ("schemas", "gs://my-bucket/schemas", "/etc/schemas"),
        ("prices", "gs://my-bucket/prices.yaml", "gs://my-bucket"),
        ("number_of_worker_harness_threads", "24", "0"),
        ("experiments", "shuffle_mode=service", "a b"),
        ("default_sdk_harness_log_level", "WARNING", "warn"),
        ("sdk_harness_log_level_overrides", '{"a.b": "INFO"}', '{"a.b": 1}'),
        ("resource_hints", "max_active_bundles_per_worker=24", "max_active_bundles_per_worker"),
        ("element_processing_timeout_minutes", "70", "0"),
    ],
)
def test_values_are_checked_before_anything_starts(name: str, good: str, bad: str) -> None:
    """Dataflow refuses a launch with an invalid parameter."""
    (pattern,) = PARAMETERS[name]["regexes"]
    assert re.search(pattern, good)
    assert not re.search(pattern, bad)


def test_patterns_are_terraforms_too() -> None:
    """Its regular expressions, RE2, have no repetition above 1000: with one, every value is refused."""
    for entry in PARAMETERS.values():
        (pattern,) = entry["regexes"]
        assert all(int(number) <= 1_000 for number in re.findall(r"\{(?:\d+,)?(\d+)\}", pattern)), entry["name"]
        assert not re.search(r"\(\?[=!<]", pattern), entry["name"]


def test_a_text_without_a_rule_is_refused() -> None:
    """A new text option needs a pattern."""

    class WithNewText(Settings):
        new_text: str = Field("", description="A new one")

    with pytest.raises(KeyError, match="--new_text"):
        parameters(WithNewText)


def test_image_installs_the_versions_that_the_tests_ran_with() -> None:
    """The image's lock is the production part of the repository's lock, with hashes."""
    tested, shipped = _pins(ROOT / "requirements.txt"), _pins(TEMPLATE / "requirements.txt")
    assert shipped["apache-beam"] == tested["apache-beam"]
    assert {name: tested.get(name) for name in shipped} == shipped
    assert not {"pytest", "bqemulator", "ruff"} & set(shipped)


def test_launcher_runs_without_root_and_the_worker_can() -> None:
    """The launcher has its own user, the worker the one that the build names, else root; packages are pinned."""
    stages = re.split(r"^FROM ", (TEMPLATE / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    final = {stage.split("\n")[0].split(" AS ")[1]: stage for stage in stages}
    assert re.findall(r"^USER (.*)$", final["launcher"], flags=re.MULTILINE) == ["rescoring"]
    assert "ARG WORKER_USER=root\nUSER ${WORKER_USER}\n" in final["worker"]
    assert all(
        "--require-hashes" in line or "--no-deps" in line for line in re.findall(r"pip install.*", final["base"])
    )


def test_image_has_the_beam_that_is_pinned() -> None:
    """The base image has the Beam version that builds the graph."""
    image = re.search(r"^ARG BEAM_IMAGE=apache/beam_python3\.11_sdk:(\S+)$", _dockerfile(), flags=re.MULTILINE)
    assert image
    assert image[1] == _pins(ROOT / "requirements.txt")["apache-beam"]


def _dockerfile() -> str:
    return (TEMPLATE / "Dockerfile").read_text(encoding="utf-8")


def _pins(path: Path) -> dict[str, str]:
    """Return the versions that a lock pins for the image's Python on Linux."""
    image = {
        "python_version": "3.11",
        "python_full_version": "3.11.9",
        "sys_platform": "linux",
        "platform_system": "Linux",
    }
    lines = re.findall(r"^([A-Za-z0-9].*==[^\\\n]*)", path.read_text(encoding="utf-8"), re.MULTILINE)
    pins = (Requirement(line) for line in lines)
    return {pin.name: str(pin.specifier)[2:] for pin in pins if pin.marker is None or pin.marker.evaluate(image)}
