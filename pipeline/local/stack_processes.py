"""The servers of the local stack: BigQuery and Gemini as child processes, Pub/Sub in this one, and credentials.

They start side by side. This module imports no client of BigQuery, which takes a second: what it starts starts earlier.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from pipeline.local.bigquery_emulator import BigQueryEmulator
from pipeline.local.child_process import own_children
from pipeline.local.credentials import credentials_environment, write_service_account_file
from pipeline.local.data_folder import own_folder
from pipeline.local.gemini_process import GeminiProcess
from pipeline.local.shell_exports import other_pubsub
from pipeline.resources.names import SUBSCRIPTION, resource_path

PROJECT: Final = "account-scoring-local"
RUNNER: Final = "pipeline.local.runner.LocalRunner"
"""The name by which Beam finds the runner; importing it would import Beam."""


@dataclass(frozen=True)
class StackProcesses:
    """The servers; `environment` holds the variables with which clients find them.

    BigQuery and Gemini may still be starting.
    """

    project: str
    data_dir: Path
    environment: Mapping[str, str]
    gemini: GeminiProcess
    bigquery: BigQueryEmulator
    unread_messages: Callable[[], int] | None
    """Returns how many messages the pipeline has not read; None: PUBSUB_EMULATOR_HOST names another emulator."""


@contextmanager
def stack_processes(
    data_dir: Path, *, gemini_config: dict[str, Any] | None = None, is_kept: bool = True
) -> Iterator[StackProcesses]:
    """Start the servers, with topics and subscriptions; stop them at the end of the context.

    A pipeline can start within the context while BigQuery and Gemini are starting, if nothing is published. The
    environment of this process points to the servers. If PUBSUB_EMULATOR_HOST alone is set, that Pub/Sub emulator
    is used; if RESCORE_RUNNER is, that runner.

    Args:
        data_dir: Folder of the warehouse and the credentials.
        gemini_config: Fields of the stand-in's configuration.
        is_kept: Whether the warehouse is used again; otherwise BigQuery does not write it to the disk at its end.
    """
    with own_children(), ExitStack() as parts:
        parts.enter_context(own_folder(data_dir))
        bigquery, gemini = BigQueryEmulator(data_dir), GeminiProcess(gemini_config)
        parts.callback(bigquery.stop if is_kept else bigquery.kill)
        parts.callback(gemini.stop)
        gemini.launch()
        bigquery.launch()
        # Pub/Sub's client takes half a second to import: the stand-ins start meanwhile.
        from pipeline.local.pubsub import EmbeddedPubSub  # noqa: PLC0415
        from pipeline.resources.topics import create_topics  # noqa: PLC0415

        other_host = other_pubsub(os.environ)
        pubsub = None if other_host else parts.enter_context(EmbeddedPubSub())
        key_file = write_service_account_file(data_dir / "credentials.json", gemini.token_url, PROJECT)
        environment = {
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "PUBSUB_EMULATOR_HOST": pubsub.host if pubsub else str(other_host),
            "BIGQUERY_EMULATOR_HOST": bigquery.url,
            "GOOGLE_VERTEX_BASE_URL": gemini.url,
            "RESCORE_RUNNER": os.environ.get("RESCORE_RUNNER") or RUNNER,
            **credentials_environment(key_file),
        }
        parts.enter_context(_environment(environment))
        create_topics(PROJECT)
        subscription = resource_path(PROJECT, "subscriptions", SUBSCRIPTION)
        unread = partial(pubsub.backlog, subscription) if pubsub else None
        yield StackProcesses(PROJECT, data_dir, environment, gemini, bigquery, unread)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
