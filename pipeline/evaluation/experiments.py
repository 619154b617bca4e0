"""Vertex AI experiments; the only module that imports google.cloud.aiplatform."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import requests.exceptions
from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError

from transforms.clients.deadlines import within

T = TypeVar("T")

PATIENCE_SECONDS: Final = 10.0
"""For one call, which is several requests."""

_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9-]+")
_MAX_NAME: Final = 100


class ExperimentNotRecorded(RuntimeError):
    """Vertex AI refused a run; the message has the status of its response."""


@dataclass(frozen=True)
class ExperimentTarget:
    """Where runs are recorded.

    Attributes:
        project: Google Cloud project.
        location: A region of Vertex AI.
        experiment: Its name; it is created if it does not exist.
        endpoint: Address of the REST API instead of the region's own, such as a private endpoint.
    """

    project: str
    location: str
    experiment: str
    endpoint: str | None = None

    @property
    def host(self) -> str:
        """The address that is called."""
        return self.endpoint or f"{self.location}-aiplatform.googleapis.com"


def record_run(target: ExperimentTarget, run: str, parameters: Mapping[str, str], metrics: Mapping[str, float]) -> str:
    """Record a run with its parameters and metrics, and return its name; overwrites a run of the same name.

    Raises:
        ExperimentNotRecorded: Vertex AI did not answer, or refused the run.
    """
    from google.cloud import aiplatform  # noqa: PLC0415 - takes seconds to import, and most evaluations record nothing

    name = run_name(run)
    try:
        _ask(
            lambda: aiplatform.init(
                project=target.project,
                location=target.location,
                experiment=target.experiment,
                # A managed TensorBoard costs money for as long as it exists.
                experiment_tensorboard=False,
                api_endpoint=target.endpoint,
                api_transport="rest",
            )
        )
        exists = _ask(lambda: aiplatform.ExperimentRun.get(name, experiment=target.experiment)) is not None
        with _ask(lambda: aiplatform.start_run(name, resume=exists)) as recorded:
            _ask(lambda: recorded.log_params(dict(parameters)))
            _ask(lambda: recorded.log_metrics(dict(metrics)))
    except (TimeoutError, requests.exceptions.ConnectionError) as error:
        raise ExperimentNotRecorded(
            f"Vertex AI at {target.host} does not answer ({type(error).__name__}): check that this machine reaches it"
        ) from error
    except (GoogleAPIError, GoogleAuthError) as error:
        status = getattr(error, "code", None)
        raise ExperimentNotRecorded(
            f"Vertex AI experiment {target.experiment}: {type(error).__name__}{f' {int(status)}' if status else ''}"
        ) from error
    return name


def _ask(call: Callable[[], T]) -> T:
    """Return what a call of the library returns, which has no deadlines of its own."""
    return within(PATIENCE_SECONDS, call)


def run_name(text: str) -> str:
    """Return a text as a run name: lower-case letters, digits and hyphens."""
    return _NOT_IN_NAMES.sub("-", text.lower()).strip("-")[:_MAX_NAME].strip("-")
