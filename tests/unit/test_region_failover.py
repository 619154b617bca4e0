"""docs/runbooks/region-failover.md, as far as it can be checked without Google Cloud."""

import re
import shlex
from pathlib import Path
from typing import Final

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, WorkerOptions

from pipeline.config.options import command_line, config_from
from pipeline.resources.names import JOB_NAME
from pipeline.run import DEFAULT_ARGUMENTS
from tests.fixtures.console_blocks import filled, steps_of

ROOT: Final = Path(__file__).parents[2]
RUNBOOK: Final = (ROOT / "docs" / "runbooks" / "region-failover.md").read_text(encoding="utf-8")
STANDBY: Final = (ROOT / "infrastructure" / "standby.tf").read_text(encoding="utf-8")
VALUES: Final = {
    "PROJECT": "my-project",
    "REGION": "europe-west1",
    "STANDBY": "europe-west4",
    "VERSION": "0123abc",
    "JOB_ID": "2026-03-02_01_02_03-456",
    "TIME": "2026-03-02T09:20:05Z",
}
COMMANDS: Final = [shlex.split(filled(step.command, VALUES)) for step in steps_of(RUNBOOK)]
(RUN,) = (words for words in COMMANDS if words[:2] == ["rescore", "run"])


def test_the_job_of_the_second_region_starts_with_valid_options() -> None:
    """Beam and the pipeline know each option, and the values are well-formed."""
    line = command_line(RUN[2:], {})
    assert not line.problems
    options = PipelineOptions([*DEFAULT_ARGUMENTS, *line.arguments])
    config = config_from(options, line)
    assert config.project == VALUES["PROJECT"]
    google = options.view_as(GoogleCloudOptions)
    assert (google.region, google.job_name) == (VALUES["STANDBY"], JOB_NAME)
    assert google.dataflow_service_options == ["min_num_workers=2", "worker_utilization_hint=0.5"]
    assert not options.view_as(WorkerOptions).use_public_ips


def test_its_resources_are_those_that_terraform_makes() -> None:
    """Subnetwork, bucket and registry of the standby region."""
    options = PipelineOptions([*DEFAULT_ARGUMENTS, *RUN[2:]])
    google, workers = options.view_as(GoogleCloudOptions), options.view_as(WorkerOptions)
    names = re.findall(r'^  name\s+= "([^"]*)"', STANDBY, flags=re.MULTILINE)
    subnetwork, bucket = names[0], names[-1].replace("${var.project_id}", VALUES["PROJECT"])
    assert workers.subnetwork == f"regions/europe-west4/subnetworks/{subnetwork}"
    assert {google.temp_location, google.staging_location} == {f"gs://{bucket}/temp", f"gs://{bucket}/staging"}
    (repository,) = re.findall(r'repository_id\s+= "([^"]*)"', STANDBY)
    registry = f"europe-west4-docker.pkg.dev/my-project/{repository}"
    assert workers.sdk_container_image == f"{registry}/worker:{VALUES['VERSION']}"
    assert google.service_account_email == "rescoring-worker@my-project.iam.gserviceaccount.com"


def test_no_command_of_google_loses_the_region() -> None:
    """A job is stopped in the region that the text names, and found by the name that deployments give it."""
    stops = [words for words in COMMANDS if words[0] == "gcloud"]
    assert [words[2:4] for words in stops] == [["jobs", "list"], ["jobs", "cancel"], ["jobs", "drain"]]
    regions = [word.removeprefix("--region=") for words in stops for word in words if word.startswith("--region=")]
    assert regions == ["europe-west1", "europe-west1", "europe-west4"]
    assert f"--filter=name={JOB_NAME}" in stops[0]


def test_the_job_is_started_after_the_old_one_is_stopped_and_the_seek() -> None:
    """In the order of the steps: nothing reads during the seek, and at the end all is reconciled."""
    order = [" ".join(words[:4] if words[0] == "gcloud" else words[:2]) for words in COMMANDS]
    assert order == [
        "gcloud dataflow jobs list",
        "gcloud dataflow jobs cancel",
        "rescore reconcile",
        "rescore recover",
        "rescore recover",
        "rescore run",
        "rescore reconcile",
        "gcloud dataflow jobs drain",
    ]


@pytest.mark.parametrize("option", ["machine_type", "number_of_worker_harness_threads"])
def test_workers_are_those_of_the_first_region(option: str) -> None:
    """By the defaults of Terraform's variable `workers`."""
    variables = (ROOT / "infrastructure" / "variables.tf").read_text(encoding="utf-8")
    name = {"machine_type": "machine_type", "number_of_worker_harness_threads": "threads"}[option]
    default = re.search(rf'\b{name} += optional\(\w+, "?([\w-]+)"?\)', variables)
    assert default
    assert f"--{option}={default[1]}" in RUN
