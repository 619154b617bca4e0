"""Workflows refer to existing jobs, make targets and scripts, and pin actions by commit."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS: dict[str, dict[Any, Any]] = {
    path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.yml"))
}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def _steps(workflow: dict[Any, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job.get("steps", ())


@pytest.mark.parametrize("name", WORKFLOWS)
def test_needed_jobs_exist(name: str) -> None:
    """A job that needs a missing job never runs."""
    jobs = WORKFLOWS[name]["jobs"]
    for job in jobs.values():
        needs = job.get("needs", [])
        assert set([needs] if isinstance(needs, str) else needs) <= set(jobs)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_called_targets_scripts_and_workflows_exist(name: str) -> None:
    """Targets, scripts and workflows that a step calls exist."""
    for step in _steps(WORKFLOWS[name]):
        command = step.get("run", "")
        assert set(re.findall(r"\bmake ([a-z-]+)", command)) <= TARGETS, command
        for script in re.findall(r"\b(infrastructure/[\w./-]+\.sh)", command):
            assert (ROOT / script).stat().st_mode & 0o100, script
        for module in re.findall(r"python -m ([\w.]+)", command):
            assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), module
    for job in WORKFLOWS[name]["jobs"].values():
        if called := job.get("uses"):
            inputs = WORKFLOWS[called.rsplit("/", 1)[1]][True]["workflow_call"]["inputs"]  # YAML reads `on` as true
            assert set(job["with"]) == set(inputs)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_by_commit(name: str) -> None:
    """A tag can move, a commit can't. The tag stands in a comment, for people and for Dependabot."""
    used = re.findall(r"uses: (\S+)(.*)", (FOLDER / name).read_text(encoding="utf-8"))
    assert used
    for action, comment in used:
        if not action.startswith("$/"):
            assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), action
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action


@pytest.mark.parametrize("name", WORKFLOWS)
def test_rights_are_asked_for_one_by_one(name: str) -> None:
    """Workflows can only read by default; only deployments get a Google Cloud token, and name their environment."""
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        if job.get("permissions", {}).get("id-token") == "write" and "uses" not in job:
            assert job["environment"]


def test_production_waits_for_staging() -> None:
    """Production gets the images that were built once and tested in staging."""
    jobs = WORKFLOWS["deploy.yml"]["jobs"]
    assert set(jobs["production"]["needs"]) == {"build", "staging"}
    assert "needs.staging.result == 'success'" in jobs["production"]["if"]
    smoke = [step.get("name") for step in _steps(WORKFLOWS["deploy-environment.yml"])]
    assert smoke[-1] == "Smoke test"
    assert "id-token" not in jobs["build"].get("permissions", {})


def test_a_deployment_has_what_its_script_runs() -> None:
    """deploy.sh runs `rescore doctor` of this commit before it changes the job, so the package is installed first."""
    runs = [step.get("run", "") for step in _steps(WORKFLOWS["deploy-environment.yml"])]
    installs = runs.index("make install")
    (applies,) = (place for place, run in enumerate(runs) if 'deploy.sh "$STRATEGY"' in run)
    assert installs < applies
    assert "infrastructure/deploy.sh images" in " ".join(runs[installs:applies])


def test_makefile_names_its_targets_as_phony() -> None:
    """A file with a target's name would otherwise keep the target from running."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    assert phony
    assert set(phony[1].split()) == TARGETS
