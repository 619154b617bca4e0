"""`rescore doctor`: what of a deployment is wrong, and how to mend it."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from pipeline.doctor.check import OnResult, Result, Status, examine
from pipeline.doctor.deployment import Deployment, checks_of
from pipeline.doctor.permissions import Duty
from schemas.identifiers import DatasetId, EmailAddress, ProjectId, checked
from transforms.generation import GeminiSettings
from transforms.redis_store import RedisSettings
from transforms.salesforce_login import AuthFlow, SalesforceSettings

StartView = Callable[[Sequence[str]], AbstractContextManager[OnResult]]
"""From the names of the checks to what shows them while they are made."""

Choice = TypeVar("Choice", bound=StrEnum)

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


@dataclass(frozen=True)
class SalesforceOptions:
    """The options --salesforce-*, as they were typed."""

    login_url: str
    client_id: str
    secret: str
    auth: str
    username: str | None


def deployment_from(
    *,
    project: str,
    dataset: str,
    crm_dataset: str,
    model: str,
    location: str,
    redis_url: str,
    salesforce: SalesforceOptions,
    duty: str,
) -> Deployment:
    """Return the deployment that options name.

    Raises:
        ValueError: One is malformed; the message says which, and quotes no secret.
    """
    return Deployment(
        dataset=checked(DatasetId, dataset, "--dataset"),
        crm_dataset=checked(DatasetId, crm_dataset, "--crm-dataset"),
        gemini=GeminiSettings(project=checked(ProjectId, project, "--project"), model=model, location=location),
        redis=_redis(redis_url),
        salesforce=_salesforce(salesforce),
        duty=_one_of(Duty, duty, "--for"),
    )


def diagnose(deployment: Deployment, start_view: StartView) -> Diagnosis:
    """Make all checks of a deployment."""
    with checks_of(deployment) as checks, start_view([check.name for check in checks]) as on_result:
        return Diagnosis(deployment.project, examine(checks, on_result))


def as_json(diagnosis: Diagnosis) -> str:
    """Return the one document that `--json` prints."""
    return json.dumps(diagnosis.document(), indent=2)


def _one_of(kind: type[Choice], value: str, flag: str) -> Choice:
    if value not in list(kind):
        raise ValueError(f"{flag} is {value[:60]!r}: one of {', '.join(kind)} is wanted")
    return kind(value)


def _redis(location: str) -> RedisSettings | None:
    if not location:
        return None
    try:
        return RedisSettings(location)
    except ValueError as error:
        raise ValueError(f"--{str(error).replace('redis_url', 'redis-url')}") from None


def _salesforce(options: SalesforceOptions) -> SalesforceSettings | None:
    if not options.login_url:
        return None
    flow = _one_of(AuthFlow, options.auth, "--salesforce-auth")
    if options.username:
        checked(EmailAddress, options.username, "--salesforce-username")
    try:
        return SalesforceSettings(
            login_url=options.login_url,
            client_id=options.client_id,
            secret=options.secret,
            flow=flow,
            username=options.username,
        )
    except ValueError as error:
        raise ValueError(f"--salesforce-{str(error).replace('login_url', 'login-url')}") from None
