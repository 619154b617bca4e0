"""deploy.sh with stand-ins for terraform, gcloud, curl and rescore: what is called, and in which order."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
IMAGES: Final = "build/images.tfvars.json"
APPLIES: Final = "terraform apply -auto-approve -var-file=environments/staging.tfvars"
TABLES: Final = "-target=google_bigquery_table.of -target=google_bigquery_table.view"
CHECKS: Final = "rescore doctor --only-tables --project example-rescoring-staging"
REPLACES: Final = "-replace=google_dataflow_flex_template_job.rescoring[0]"
LAUNCHES: Final = "https://dataflow.googleapis.com/v1b3/projects/p/locations/r/flexTemplates:launch"

STAND_IN: Final = """#!/usr/bin/env python3
import json, os, pathlib, sys

name, arguments = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
answers = json.loads(os.environ["ANSWERS"])
reads = arguments[:1] == ["console"] or {"@-", "--password-stdin"} & set(arguments)
standard_input = sys.stdin.read() if reads else ""
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps([" ".join([name, *arguments]), standard_input]) + "\\n")
line = " ".join([name, *arguments, standard_input])
for part, answer in answers.items():
    if part in line:
        if isinstance(answer, int):
            sys.exit(answer)
        print(answer)
        break
"""

ANSWERS: Final[Mapping[str, str | int]] = {
    "output -json running_images": "null",
    "output -json job_id": '"the-running-job"',
    "jsonencode(var.project_id)": json.dumps(json.dumps("example-rescoring-staging")),
    "locations/${var.region}": json.dumps(json.dumps("projects/p/locations/r")),
    "jsonencode(local.validation)": json.dumps(json.dumps({"launchParameter": {"update": True}})),
    "print-access-token": "the-token",
    "flexTemplates:launch": '{"job": {"id": "the-validation"}}',
    "jobs/the-validation": '{"currentState": "JOB_STATE_DONE"}',
}


@dataclass(frozen=True)
class Deployed:
    """How deploy.sh ended, the calls that it made, and what it fed them."""

    code: int
    told: str
    calls: Sequence[str]
    fed: Mapping[str, str]

    @property
    def steps(self) -> list[str]:
        """The calls that change or check something, without their repeated arguments."""
        kinds = (APPLIES, CHECKS, "gcloud pubsub", "curl")
        return [call.removeprefix(APPLIES).strip() for call in self.calls if call.startswith(kinds)]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with deploy.sh, and stand-ins for what it calls."""
    (tmp_path / "infrastructure").mkdir()
    shutil.copy(ROOT / "infrastructure" / "deploy.sh", tmp_path / "infrastructure")
    for folder, names in (
        (tmp_path / "bin", ("terraform", "gcloud", "curl", "skopeo")),
        (tmp_path / ".venv/bin", ("rescore",)),
    ):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_text(STAND_IN)
            (folder / name).chmod(0o755)
    return tmp_path


def deploy(checkout: Path, action: str, *more: str, answers: Mapping[str, str | int] | None = None) -> Deployed:
    """Run deploy.sh for staging; `answers` replaces answers: what a call prints, or its exit code, by words in it."""
    if shutil.which("jq") is None:
        pytest.skip("deploy.sh calls jq, which is not installed")
    calls = checkout / "calls"
    calls.unlink(missing_ok=True)
    environment = os.environ | {
        "PATH": f"{checkout / 'bin'}:{os.environ['PATH']}",
        "ANSWERS": json.dumps(
            {**(answers or {}), **{part: it for part, it in ANSWERS.items() if part not in (answers or {})}}
        ),
        "CALLS": str(calls),
        "VALIDATION_SECONDS": "0",
        "VALIDATION_ATTEMPTS": "3",
    }
    script = ["bash", str(checkout / "infrastructure" / "deploy.sh"), action, "staging", *more]
    ended = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=120, check=False)
    made = [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []
    return Deployed(ended.returncode, ended.stderr, [call for call, _ in made], dict(made))


def _with_images(rest: str, checkout: Path) -> str:
    return f"-var-file={checkout / IMAGES} {rest}".strip()


def test_an_update_applies_tables_checks_them_validates_the_graph_and_then_replaces_the_job(checkout: Path) -> None:
    """In this order: a job never writes a column that is not there, nor replaces one that it can't replace."""
    deployed = deploy(checkout, "update")
    assert (deployed.code, deployed.told) == (0, "")
    tables, check, template, launch, asks, job = deployed.steps
    assert tables == _with_images(TABLES, checkout)
    assert check == CHECKS
    assert template == _with_images("-target=google_storage_bucket_object.template[0]", checkout)
    assert launch.endswith(LAUNCHES)
    assert "--request POST" in launch
    body = launch.partition("--data ")[2].partition("https:")[0]
    assert json.loads(body) == {"launchParameter": {"update": True}}
    assert asks.endswith("/projects/p/locations/r/jobs/the-validation")
    assert job == _with_images("", checkout)


def test_a_drain_applies_tables_and_takes_a_snapshot_before_it_drains(checkout: Path) -> None:
    """The snapshot has what the job did not acknowledge; the command that seeks to it is printed."""
    deployed = deploy(checkout, "drain")
    assert deployed.code == 0
    tables, check, snapshot, job = deployed.steps
    assert (tables, check) == (_with_images(TABLES, checkout), CHECKS)
    words = snapshot.split()
    assert words[:4] == ["gcloud", "pubsub", "snapshots", "create"]
    assert words[5:] == ["--subscription", "account-changes-rescoring", "--project", "example-rescoring-staging"]
    assert f"rescore recover --to-snapshot {words[4]} --project=example-rescoring-staging" in deployed.told
    assert job == _with_images(REPLACES, checkout)


@pytest.mark.parametrize("action", ["update", "drain"])
def test_nothing_touches_the_job_while_tables_lack_columns(checkout: Path, action: str) -> None:
    """The check of the tables fails: the deployment ends there."""
    deployed = deploy(checkout, action, answers={"doctor --only-tables": 1})
    assert deployed.code == 1
    assert deployed.steps == [_with_images(TABLES, checkout), CHECKS]


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("JOB_STATE_FAILED", "the log of job the-validation says why"),
        ("JOB_STATE_CANCELLED", "deploy with drain"),
        ("JOB_STATE_RUNNING", "Dataflow has replaced the job"),
        ("JOB_STATE_QUEUED", "has not validated job the-validation in time (JOB_STATE_QUEUED)"),
    ],
)
def test_a_job_that_can_not_be_replaced_is_not_replaced(checkout: Path, state: str, told: str) -> None:
    """The deployment ends with Dataflow's answer, and the job is left alone."""
    deployed = deploy(checkout, "update", answers={"jobs/the-validation": json.dumps({"currentState": state})})
    assert deployed.code == 1
    assert told in deployed.told
    assert _with_images("", checkout) not in deployed.steps


def test_a_refused_request_ends_the_deployment(checkout: Path) -> None:
    """As does an answer without a job."""
    for answer in (22, '{"error": {"status": "PERMISSION_DENIED"}}'):
        deployed = deploy(checkout, "update", answers={"flexTemplates:launch": answer})
        assert deployed.code != 0
        assert _with_images("", checkout) not in deployed.steps


def test_the_first_deployment_has_nothing_to_validate(checkout: Path) -> None:
    """No job runs: tables, and then the job."""
    deployed = deploy(checkout, "update", answers={"output -json job_id": "null"})
    assert deployed.code == 0
    assert deployed.steps == [_with_images(TABLES, checkout), CHECKS, _with_images("", checkout)]


def test_a_snapshot_that_is_refused_keeps_the_job_running(checkout: Path) -> None:
    """Without it a drain is not started."""
    deployed = deploy(checkout, "drain", answers={"snapshots create": 1})
    assert deployed.code == 1
    assert _with_images(REPLACES, checkout) not in deployed.steps


def test_the_token_is_not_on_a_command_line(checkout: Path) -> None:
    """Other users of a machine see the arguments of its processes."""
    deployed = deploy(checkout, "update")
    assert not [call for call in deployed.calls if "the-token" in call]
    (launch,) = [call for call in deployed.calls if "flexTemplates:launch" in call]
    assert deployed.fed[launch] == "Authorization: Bearer the-token\n"


def test_another_action_is_refused_before_anything_is_called(checkout: Path) -> None:
    """With the actions that there are."""
    deployed = deploy(checkout, "delete")
    assert (deployed.code, deployed.calls) == (2, [])
    assert "not one of plan, images, tables, update, drain" in deployed.told


def test_images_are_copied_to_the_standby_region(checkout: Path) -> None:
    """By digest and under the version's tag, unless they are there; without a standby region nothing is copied."""
    standby = "r2-docker.pkg.dev/p/account-rescoring-standby"
    answers: dict[str, str | int] = {
        "output -json standby_images": json.dumps(standby),
        "output -raw images": "r-docker.pkg.dev/p/account-rescoring",
        "inspect --format": "sha256:1",
        f"inspect docker://{standby}/launcher:": 0,
        f"inspect docker://{standby}/worker:": 1,
    }
    deployed = deploy(checkout, "images", "the-version", answers=answers)
    assert deployed.code == 0, deployed.told
    copied = [call for call in deployed.calls if call.startswith("skopeo copy")]
    source = "docker://r-docker.pkg.dev/p/account-rescoring/worker@sha256:1"
    assert copied == [f"skopeo copy --quiet --preserve-digests {source} docker://{standby}/worker:the-version"]
    deployed = deploy(checkout, "images", "the-version", answers=answers | {"output -json standby_images": "null"})
    assert deployed.code == 0, deployed.told
    assert not [call for call in deployed.calls if call.startswith("skopeo copy")]


def test_tables_can_be_applied_alone(checkout: Path) -> None:
    """For what rescore doctor finds missing; the running images are kept."""
    deployed = deploy(checkout, "tables")
    assert deployed.code == 0
    assert deployed.steps == [_with_images(TABLES, checkout), CHECKS]
    assert json.loads((checkout / IMAGES).read_text()) == {"images": None}


def test_terraform_creates_tables_and_views_before_the_job() -> None:
    """Also for a person who applies everything at once."""
    job = (ROOT / "infrastructure" / "job.tf").read_text(encoding="utf-8")
    needed = job.partition('resource "google_dataflow_flex_template_job"')[2].partition("depends_on = [")[2]
    listed = {line.strip().rstrip(",") for line in needed.partition("]")[0].splitlines()}
    assert {"google_bigquery_table.of", "google_bigquery_table.view"} <= listed
