"""The job that reaches Dataflow, submitted by the real runner to a capture of the Dataflow and storage APIs."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from gcp_storage_emulator.server import create_server
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.job_graph import pipeline_proto, top_steps
from tests.integration.dataflow_capture import DataflowCapture

ROOT: Final = Path(__file__).parents[2]
BUCKET: Final = "my-project-staging"
LAUNCHER: Final = ROOT / "infrastructure" / "flex_template" / "launch.py"
STREAMING_JOB: Final = 2

# The worker options of a deployment, as in infrastructure/job.tf.
WORKERS: Final = (
    "--service_account_email=rescoring-worker@my-project.iam.gserviceaccount.com",
    "--no_use_public_ips",
    "--subnetwork=regions/europe-west1/subnetworks/rescoring",
    "--machine_type=n2-standard-2",
    "--num_workers=2",
    "--max_num_workers=10",
    "--number_of_worker_harness_threads=24",
    "--dataflow_service_options=min_num_workers=2,worker_utilization_hint=0.5",
    "--labels=component=account-rescoring",
    "--labels=environment=staging",
)


@dataclass
class Cloud:
    """The Dataflow and storage APIs, and the options that direct commands to them."""

    dataflow: DataflowCapture
    storage_url: str

    def submit(self, *arguments: str, expected: int = 0) -> str:
        """Submit with `rescore run` in this process, and return its standard error."""
        command = ["run", "--no_wait_until_finish", *arguments, *self._where()]
        done = CliRunner(env={"STORAGE_EMULATOR_HOST": self.storage_url}).invoke(app, command)
        assert done.exit_code == expected, done.stderr[-3_000:]
        return done.stderr

    def start(self, *command: str) -> None:
        """Run a Python command with the options of the two APIs as a process."""
        done = subprocess.run(
            [sys.executable, *command, *self._where()],
            env=os.environ | {"STORAGE_EMULATOR_HOST": self.storage_url},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3_000:]

    def _where(self) -> Sequence[str]:
        return (
            "--runner=DataflowRunner",
            "--project=my-project",
            "--region=europe-west1",
            f"--temp_location=gs://{BUCKET}/temp",
            f"--staging_location=gs://{BUCKET}/staging",
            f"--dataflow_endpoint={self.dataflow.endpoint}",
            "--no_auth",
        )

    def staged(self, location: str) -> bytes:
        """Return a staged file."""
        bucket, _, name = location.removeprefix("gs://").removeprefix("storage.googleapis.com/").partition("/")
        client = storage.Client(
            project="my-project",
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": self.storage_url},
        )
        content: bytes = client.bucket(bucket).blob(name).download_as_bytes()
        return content


@pytest.fixture(scope="module")
def storage_url() -> Iterator[str]:
    """Return the address of a storage emulator with the staging bucket."""
    server = create_server("localhost", 0, in_memory=True, default_bucket=BUCKET)
    with server:
        yield f"http://localhost:{server._api._httpd.server_port}"


@pytest.fixture(scope="module")
def cloud(storage_url: str) -> Iterator[Cloud]:
    """Return the two APIs."""
    with DataflowCapture() as capture:
        yield Cloud(capture, storage_url)


@dataclass
class Submitted:
    """A submitted job: the request, its graph and its package."""

    job: dict[str, Any]
    graph: Any
    package: bytes

    @property
    def options(self) -> dict[str, Any]:
        """The pipeline options that workers will see."""
        options: dict[str, Any] = self.job["environment"]["sdkPipelineOptions"]["options"]
        return options


@pytest.fixture(scope="module")
def submitted(cloud: Cloud) -> Submitted:
    """Return a job that was submitted with all options of a deployment; it stays active."""
    command = ("-m", "pipeline", "run", "--no_wait_until_finish")
    cloud.start(*command, *WORKERS, f"--setup_file={ROOT / 'setup.py'}", "--id_label=event_uuid")
    (job,) = cloud.dataflow.created
    (pool,) = job["environment"]["workerPools"]
    packages = {package["name"]: package["location"] for package in pool["packages"]}
    graph = cloud.staged(job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"])
    return Submitted(job, beam_runner_api_pb2.Pipeline.FromString(graph), cloud.staged(packages["workflow.tar.gz"]))


def test_job_is_a_streaming_job_under_a_stable_name(submitted: Submitted) -> None:
    """The job name does not contain the start time, so that an update finds the job."""
    assert submitted.job["type"] == STREAMING_JOB
    assert submitted.job["name"] == "account-rescoring"
    assert submitted.job["labels"] == {"component": "account-rescoring", "environment": "staging"}
    assert submitted.job["environment"]["version"]["job_type"] == "FNAPI_STREAMING"
    assert "enable_streaming_engine" in submitted.job["environment"]["experiments"]


def test_workers_are_as_the_deployment_says(submitted: Submitted) -> None:
    """Workers have no public addresses, a service account, and a pool that can grow."""
    environment = submitted.job["environment"]
    (pool,) = environment["workerPools"]
    assert environment["serviceAccountEmail"] == "rescoring-worker@my-project.iam.gserviceaccount.com"
    assert pool["ipConfiguration"] == 2  # WORKER_IP_PRIVATE
    assert pool["subnetwork"] == "regions/europe-west1/subnetworks/rescoring"
    assert (pool["numWorkers"], pool["autoscalingSettings"]["maxNumWorkers"]) == (2, 10)
    assert pool["numThreadsPerWorker"] == 24
    assert environment["serviceOptions"] == ["min_num_workers=2", "worker_utilization_hint=0.5"]


def test_each_worker_has_one_process_and_an_element_timeout_above_ours(submitted: Submitted) -> None:
    """The limit of calls is divided by the workers; a process for each vCPU would multiply it."""
    experiments = submitted.job["environment"]["experiments"]
    assert "no_use_multiple_sdk_containers" in experiments
    assert "use_multiple_sdk_containers" not in experiments
    assert submitted.options["element_processing_timeout_minutes"] == 70


def test_console_shows_the_steps_of_the_graph(submitted: Submitted) -> None:
    """The runner's own replacements of transforms keep the names of the steps."""
    shown = [step.unique_name for step in top_steps(submitted.graph).values()]
    local = pipeline_proto(PipelineOptions(["--streaming", "--project=my-project"]))
    assert shown == [step.unique_name for step in top_steps(local).values()]
    assert shown[0] == "Read change events"
    assert "Score accounts" in shown


def test_messages_are_read_by_the_service_from_the_subscription(submitted: Submitted) -> None:
    """Dataflow's own reader reads the subscription, and drops duplicates by the configured attribute."""
    reads = [
        beam_runner_api_pb2.PubSubReadPayload.FromString(transform.spec.payload)
        for transform in submitted.graph.components.transforms.values()
        if transform.spec.urn == common_urns.composites.PUBSUB_READ.urn
    ]
    assert [(read.subscription, read.id_attribute) for read in reads] == [
        ("projects/my-project/subscriptions/account-changes-rescoring", "event_uuid")
    ]


_UNPICKLE: Final = """
import importlib.resources, json, sys
target, graph_file, *site = sys.argv[1:]
sys.path[:0] = [target, *site]
import transforms.coders
from apache_beam.internal import pickler
from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_runner_api_pb2 as api
from apache_beam.runners.pipeline_context import PipelineContext
from pathlib import Path
graph = api.Pipeline.FromString(Path(graph_file).read_bytes())
fns = []
for transform in graph.components.transforms.values():
    if transform.spec.urn == common_urns.primitives.PAR_DO.urn:
        fn = api.ParDoPayload.FromString(transform.spec.payload).do_fn
        assert fn.urn == python_urns.PICKLED_DOFN_INFO, fn.urn
        fns.append(type(pickler.loads(fn.payload)[0]).__module__)
context = PipelineContext(graph.components)
records = [coder.model.__name__ for coder in map(context.coders.get_by_id, graph.components.coders)
           if isinstance(coder, transforms.coders.RecordCoder)]
files = [sys.modules[name].__file__ for name in ("schemas", "transforms")]
data = [importlib.resources.files("transforms").joinpath(*name.split("/")).is_file()
        for name in ("filter/materiality.yaml", "enrich/account_contexts.sql", "prompt/versions/v1/instruction.md")]
print(json.dumps({"fns": fns, "records": records, "files": files, "data": data}))
"""


def test_staged_package_installs_and_its_functions_and_coders_unpickle(submitted: Submitted, tmp_path: Path) -> None:
    """A worker with the dependencies and the staged package, but without this checkout, can run every step."""
    (tmp_path / "workflow.tar.gz").write_bytes(submitted.package)
    (tmp_path / "pipeline.pb").write_bytes(submitted.graph.SerializeToString())
    target = tmp_path / "installed"
    uv = Path(sys.executable).with_name("uv")
    # Offline and without isolation: the build needs setuptools, which the lock pins, and must need nothing else.
    flags = ["--quiet", "--no-deps", "--no-build-isolation", "--offline", "--python", sys.executable]
    subprocess.run(
        [uv, "pip", "install", *flags, "--target", target, "workflow.tar.gz"], cwd=tmp_path, check=True, timeout=240
    )
    site = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    # -S: no .pth file is read, so that the editable installation of this checkout is not seen.
    done = subprocess.run(
        [sys.executable, "-S", "-c", _UNPICKLE, target, tmp_path / "pipeline.pb", *site],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    seen = json.loads(done.stdout)
    assert all(Path(file).is_relative_to(target) for file in seen["files"]), seen["files"]
    assert all(seen["data"])
    assert {"AccountChange", "AccountState", "DeadLetter", "Outcome", "ScoredChange"} <= set(seen["records"])
    ours = {module for module in seen["fns"] if module.split(".")[0] in {"transforms", "pipeline"}}
    assert {
        "transforms.parse.parse_change_events",
        "transforms.score.score_accounts",
        "transforms.write.write_rows",
    } <= ours


def test_second_job_of_the_name_is_refused(cloud: Cloud, submitted: Submitted) -> None:
    """Two jobs on one subscription would share its messages; the message says what to do instead."""
    before = len(cloud.dataflow.created)
    stderr = cloud.submit(expected=2)
    assert f"already active job named {submitted.job['name']}" in stderr
    assert "--update" in stderr
    assert len(cloud.dataflow.created) == before


def test_update_takes_over_the_job_of_the_name(cloud: Cloud, submitted: Submitted) -> None:
    """An update names the job that it replaces, and the new names of renamed steps."""
    mapping = {"Ask Gemini": "Score accounts"}
    cloud.submit("--update", f"--transform_name_mapping={json.dumps(mapping)}")
    update = cloud.dataflow.created[-1]
    assert update["replaceJobId"] == submitted.job["id"]
    assert update["name"] == submitted.job["name"]
    assert update["transformNameMapping"] == mapping


def test_update_without_a_job_says_so(storage_url: str) -> None:
    """Beam would poll the list of jobs forever; the command ends after one request."""
    with DataflowCapture() as empty:
        stderr = Cloud(empty, storage_url).submit("--update", expected=2)
        assert "no job account-rescoring runs in europe-west1" in stderr
        assert len(empty.calls) == 1


def test_flex_template_launch_leaves_a_job_for_the_service(cloud: Cloud) -> None:
    """The launcher writes a job file to the template's location; Dataflow creates the job from it."""
    location = f"gs://{BUCKET}/staging/template_launches/1/job_object"
    before = len(cloud.dataflow.calls)
    cloud.start(
        str(LAUNCHER),
        f"--template_location={location}",
        "--job_name=account-rescoring",
        '--labels={"goog-dataflow-provided-template-type": "flex"}',
        "--sdk_container_image=europe-west1-docker.pkg.dev/my-project/rescoring/account-rescoring:1",
        "--accounts_per_call=4",
        *WORKERS,
    )
    assert len(cloud.dataflow.calls) == before
    job = json.loads(cloud.staged(location))
    assert job["name"] == "account-rescoring"
    assert job["type"] == "JOB_TYPE_STREAMING"
    assert job["environment"]["sdkPipelineOptions"]["options"]["accounts_per_call"] == "4"
    (pool,) = job["environment"]["workerPools"]
    assert pool["workerHarnessContainerImage"].endswith("/account-rescoring:1")
    assert all("workflow" not in package["name"] for package in pool["packages"])
