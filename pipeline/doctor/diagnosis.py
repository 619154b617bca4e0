"""`rescore doctor`: find what is wrong with a deployment, and how to fix it."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Final

from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.config.options import command_line, config_from
from pipeline.doctor.check import OnResult, Result, Status, examine
from pipeline.doctor.deployment import Deployment, checks_of
from pipeline.doctor.permissions import Persona

StartView = Callable[[Sequence[str]], AbstractContextManager[OnResult]]
"""Takes the names of the checks; returns a context manager that shows their results as they come in."""

NOT_FAILED: Final = frozenset({Status.OK, Status.SKIPPED, Status.NOT_TOLD})


@dataclass(frozen=True)
class Diagnosis:
    """The results of a project's checks, in their order."""

    project: str
    results: tuple[Result, ...]

    @property
    def is_ok(self) -> bool:
        """Whether no check failed."""
        return all(result.finding.status in NOT_FAILED for result in self.results)

    @property
    def counts(self) -> Counter[Status]:
        """How many checks have each status."""
        return Counter(result.finding.status for result in self.results)

    def document(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "project": self.project,
            "ok": self.is_ok,
            "counts": {status.value: self.counts[status] for status in Status},
            "checks": [
                {"name": result.name, **asdict(result.finding), "seconds": round(result.seconds, 3)}
                for result in self.results
            ],
        }


def deployment_from(
    arguments: Sequence[str], persona: str, own_flags: Sequence[str] = (), *, only_tables: bool = False
) -> Deployment:
    """Return the deployment that the options of `rescore run` name.

    Args:
        arguments: As typed; other values come from the environment and the file of `--config`.
        persona: Whose permissions to check: pipeline, replay or both.
        own_flags: The command's own options.
        only_tables: Whether to check the datasets, tables and views only.

    Raises:
        ValueError: Options are malformed; the message has one line for each, without secrets.
    """
    if persona not in list(Persona):
        raise ValueError(f"--for is {persona[:60]!r}: expected one of {', '.join(Persona)}")
    line = command_line(arguments, own_flags=own_flags)
    config = config_from(PipelineOptions(line.arguments), line)
    return Deployment(
        dataset=config.dataset,
        crm_dataset=config.crm_dataset,
        gemini=config.gemini,
        redis=config.cache.redis if config.cache else None,
        salesforce=config.salesforce,
        persona=Persona(persona),
        only_tables=only_tables,
    )


def diagnose(deployment: Deployment, start_view: StartView) -> Diagnosis:
    """Run all checks of a deployment."""
    with checks_of(deployment) as checks, start_view([check.name for check in checks]) as on_result:
        return Diagnosis(deployment.project, examine(checks, on_result))
