"""`rescore doctor`: what of a deployment is wrong, and how to mend it."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.config.options import command_line, config_from
from pipeline.doctor.check import OnResult, Result, Status, examine
from pipeline.doctor.deployment import Deployment, checks_of
from pipeline.doctor.permissions import Duty

StartView = Callable[[Sequence[str]], AbstractContextManager[OnResult]]
"""From the names of the checks to what shows them while they are made."""

DONE_WELL: Final = frozenset({Status.OK, Status.SKIPPED, Status.NOT_TOLD})


@dataclass(frozen=True)
class Diagnosis:
    """What the checks of a project found, in their order."""

    project: str
    results: tuple[Result, ...]

    @property
    def is_ok(self) -> bool:
        """Whether no check failed."""
        return all(result.finding.status in DONE_WELL for result in self.results)

    @property
    def counts(self) -> Counter[Status]:
        """How many checks ended in each way."""
        return Counter(result.finding.status for result in self.results)

    def document(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "project": self.project,
            "ok": self.is_ok,
            "counts": {status.value: self.counts[status] for status in Status},
            "checks": [
                {
                    "name": result.name,
                    "status": result.finding.status.value,
                    "detail": result.finding.detail,
                    "remedy": result.finding.remedy,
                    "seconds": round(result.seconds, 3),
                }
                for result in self.results
            ],
        }


def deployment_from(arguments: Sequence[str], duty: str) -> Deployment:
    """Return the deployment that the options of `rescore run` name.

    Args:
        arguments: As typed; the environment and the file that `--config` names say what they do not.
        duty: What the credentials are meant for: pipeline, replay or both.

    Raises:
        ValueError: Some are malformed; the message has a line for each, and quotes no secret.
    """
    if duty not in list(Duty):
        raise ValueError(f"--for is {duty[:60]!r}: one of {', '.join(Duty)} is wanted")
    line = command_line(arguments)
    config = config_from(PipelineOptions(line.arguments), line)
    return Deployment(
        dataset=config.dataset,
        crm_dataset=config.crm_dataset,
        gemini=config.gemini,
        redis=config.cache.redis if config.cache else None,
        salesforce=config.salesforce,
        duty=Duty(duty),
    )


def diagnose(deployment: Deployment, start_view: StartView) -> Diagnosis:
    """Make all checks of a deployment."""
    with checks_of(deployment) as checks, start_view([check.name for check in checks]) as on_result:
        return Diagnosis(deployment.project, examine(checks, on_result))


def as_json(diagnosis: Diagnosis) -> str:
    """Return the one document that `--json` prints."""
    return json.dumps(diagnosis.document(), indent=2)
