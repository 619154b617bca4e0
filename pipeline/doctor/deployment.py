"""All checks of a deployment, in their order."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.doctor.check import Check
from pipeline.doctor.configured import configured_checks
from pipeline.doctor.credentials import credentials_check
from pipeline.doctor.model import model_check
from pipeline.doctor.permissions import Persona
from pipeline.doctor.pubsub import PubSub
from pipeline.doctor.warehouse import BigQuery
from transforms.clients.gemini_api import GeminiSettings
from transforms.clients.redis import RedisSettings
from transforms.clients.salesforce_api import SalesforceSettings


@dataclass(frozen=True)
class Deployment:
    """What to check; `redis` and `salesforce` are None if not configured.

    With `only_tables`, only whether the datasets, tables and views are those of this release.
    """

    dataset: str
    crm_dataset: str
    gemini: GeminiSettings
    redis: RedisSettings | None = None
    salesforce: SalesforceSettings | None = None
    persona: Persona = Persona.BOTH
    only_tables: bool = False

    @property
    def project(self) -> str:
        """The Google Cloud project."""
        return self.gemini.project


@contextmanager
def checks_of(deployment: Deployment) -> Iterator[list[Check]]:
    """Yield the checks of a deployment; they open connections on first use, which are closed at the end."""
    project = deployment.project
    pubsub, bigquery = PubSub(project), BigQuery(project, deployment.dataset, deployment.crm_dataset)
    try:
        yield (
            [*bigquery.table_checks()]
            if deployment.only_tables
            else [
                credentials_check(project),
                *pubsub.checks(),
                *bigquery.checks(),
                *pubsub.permission_checks(deployment.persona),
                *bigquery.permission_checks(deployment.persona),
                model_check(deployment.gemini),
                *configured_checks(project, deployment.redis, deployment.salesforce),
            ]
        )
    finally:
        pubsub.close()
        bigquery.close()
