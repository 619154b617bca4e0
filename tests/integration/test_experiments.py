"""Recording runs with Google's own client over REST, with a stand-in for Vertex AI's metadata service."""

from collections.abc import Iterator

import pytest

from pipeline.evaluation.experiments import ExperimentNotRecorded, ExperimentTarget, record_run, run_name
from pipeline.local.gemini import GeminiStandIn
from tests.fixtures.planted_secrets import VENDORS_TEXT
from tests.fixtures.silent_server import NOBODY, SilentServer
from tests.integration.vertex_experiments_stand_in import VertexExperiments, vertex_experiments

PARAMETERS = {"prompt_version": "v1", "model": "gemini-3.5-flash-lite"}


@pytest.fixture
def service(gemini: GeminiStandIn) -> Iterator[VertexExperiments]:
    """Return an empty service; the Gemini stand-in provides the credentials."""
    with vertex_experiments() as started:
        yield started


def _target(service: VertexExperiments) -> ExperimentTarget:
    return ExperimentTarget("account-scoring-local", "us-central1", "account-scores", service.url)


def test_a_run_has_its_parameters_and_metrics(service: VertexExperiments) -> None:
    """The experiment is created with its first run; the run ends as complete."""
    name = record_run(_target(service), "v1-gemini-3.5-flash-lite-2026-03-02", PARAMETERS, {"auc_won": 0.61})
    assert name == "v1-gemini-3-5-flash-lite-2026-03-02"
    run = service.runs()[name]
    assert run["_params"] == PARAMETERS
    assert run["_metrics"] == {"auc_won": 0.61}
    assert run["_state"] == "COMPLETE"
    (experiment,) = (it for it in service.contexts.values() if it["schemaTitle"] == "system.Experiment")
    assert experiment["displayName"] == "account-scores"
    assert len(service.children[experiment["name"]]) == 1


def test_the_same_evaluation_is_one_run(service: VertexExperiments) -> None:
    """Evaluating again overwrites the metrics; another version is another run."""
    record_run(_target(service), "v1", PARAMETERS, {"auc_won": 0.61})
    record_run(_target(service), "v1", PARAMETERS, {"auc_won": 0.62})
    record_run(_target(service), "v2", PARAMETERS, {"auc_won": 0.63})
    assert {name: run["_metrics"]["auc_won"] for name, run in service.runs().items()} == {"v1": 0.62, "v2": 0.63}


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_one_line_without_the_services_text(service: VertexExperiments, status: int) -> None:
    """The message names the experiment and the status."""
    service.refuse = status
    with pytest.raises(ExperimentNotRecorded, match=str(status)) as refused:
        record_run(_target(service), "v1", PARAMETERS, {})
    assert "account-scores" in str(refused.value)
    assert VENDORS_TEXT not in str(refused.value)


@pytest.mark.parametrize("is_silent", [True, False])
def test_a_dead_endpoint_is_one_line(gemini: GeminiStandIn, monkeypatch: pytest.MonkeyPatch, is_silent: bool) -> None:  # noqa: FBT001 - brings the credentials
    """It never answers, or nothing listens there; the line names it."""
    monkeypatch.setattr("pipeline.evaluation.experiments.PATIENCE_SECONDS", 2.0)
    with SilentServer() as server:
        address = f"http://{server.address if is_silent else NOBODY}"
        target = ExperimentTarget("account-scoring-local", "us-central1", "account-scores", address)
        with pytest.raises(ExperimentNotRecorded, match=f"Vertex AI at {address} does not answer"):
            record_run(target, "v1", PARAMETERS, {})


def test_run_names_are_valid() -> None:
    """Lower-case letters, digits and hyphens; bounded length; no hyphen at the ends."""
    assert run_name("V1 / gemini-3.5 (Flash)") == "v1-gemini-3-5-flash"
    assert len(run_name("x" * 500)) <= 100
