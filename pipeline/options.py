"""The pipeline's options: Beam's own, and these; `rescore run --list-options` prints them."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from pipeline.resources import CRM_DATASET, DEAD_LETTER_TOPIC, SCORING_DATASET, SUBSCRIPTION
from transforms.avro_schemas import AvroSchemas, load_avro_schemas
from transforms.gemini import DEFAULT_LOCATION, DEFAULT_MODEL, GeminiSettings
from transforms.materiality import Materiality, load_materiality
from transforms.salesforce_login import AuthFlow, SalesforceSettings

_SUBSCRIPTION: Final = re.compile(r"projects/[^/]+/subscriptions/[A-Za-z][\w.~+%-]{2,254}\Z")
_TOPIC: Final = re.compile(r"projects/[^/]+/topics/[A-Za-z][\w.~+%-]{2,254}\Z")


class OptionError(ValueError):
    """An option is missing or malformed; the message says which, and what to write."""


class RescoringOptions(PipelineOptions):
    """The options of this pipeline, as Beam parses them."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("--subscription", default=SUBSCRIPTION, help="Change events: a name, or projects/…")
        add("--id_label", default="", help="Message attribute by which Dataflow drops repetitions: see docs/adr/061")
        add("--dead_letter_topic", default=DEAD_LETTER_TOPIC, help="What failed: a name, or projects/…")
        add("--dataset", default=SCORING_DATASET, help="Dataset of scores, ledger and dead letters")
        add("--crm_dataset", default=CRM_DATASET, help="Dataset with the CRM's mirror, which context comes from")
        add("--model", default=DEFAULT_MODEL, help="Gemini model that scores")
        add("--location", default=DEFAULT_LOCATION, help="Vertex AI location of the model, or global")
        add("--prompt_version", default="v1", help="Folder of transforms/prompts that holds the instruction")
        add("--accounts_per_call", type=int, default=5, help="Accounts that share a Gemini call")
        add("--max_calls_in_flight", type=int, default=64, help="Gemini calls at once, a worker process")
        add("--call_deadline_seconds", type=float, default=60.0, help="For a Gemini call with its retries")
        add("--materiality", help="YAML file of the fields that matter; the default is packaged")
        add("--schemas", help="Folder of Avro schemas that decode field bitmaps")
        add(
            "--coalesce_seconds",
            type=float,
            default=20.0,
            help="A burst on an account ends this long after its last change",
        )
        add("--coalesce_max_seconds", type=float, default=120.0, help="From a burst's first change to its end, at most")
        add("--gap_delay_seconds", type=float, default=60.0, help="Wait for the mirror after a gap that is not reread")
        add(
            "--coalesce_state_hours",
            type=float,
            default=168.0,
            help="How long an account's last changes are remembered",
        )
        add("--salesforce_login_url", default="", help="My Domain of the organisation that gaps are reread from")
        add("--salesforce_client_id", default="", help="Consumer key of the connected app")
        add("--salesforce_secret", default="", help="Where its secret is: a variable's name, or projects/P/secrets/…")
        add("--salesforce_auth", default=AuthFlow.CLIENT_CREDENTIALS, choices=list(AuthFlow), help="OAuth flow")
        add("--salesforce_username", help="The integration user, for JWT bearer")
        add("--batch_size", type=int, default=40, help="Accounts that share a context query, at most")
        add("--batch_wait_seconds", type=float, default=1.0, help="Wait for a batch to fill up, at most")
        add("--batch_shards", type=int, default=4, help="Batches that fill up side by side")


class CoalescingOptions(TypedDict):
    """What CoalesceByAccount takes."""

    window_seconds: float
    max_window_seconds: float
    state_ttl_seconds: float
    gap_delay_seconds: float


class BatchingOptions(TypedDict):
    """What BatchAccounts takes."""

    max_batch_size: int
    max_wait_seconds: float
    shards: int


@dataclass(frozen=True)
class RescoringConfig:
    """The options, checked: what the graph is built from."""

    project: str
    subscription: str
    id_label: str | None
    dead_letter_topic: str
    dataset: str
    crm_dataset: str
    gemini: GeminiSettings
    accounts_per_call: int
    materiality: Materiality
    schemas: AvroSchemas
    salesforce: SalesforceSettings | None
    coalescing: CoalescingOptions
    batching: BatchingOptions


def config_from(options: PipelineOptions) -> RescoringConfig:
    """Return the checked options.

    Raises:
        OptionError: One is missing or malformed.
    """
    ours = options.view_as(RescoringOptions)
    project = options.view_as(GoogleCloudOptions).project
    if not project:
        raise OptionError("--project is missing: name the Google Cloud project, such as --project=my-project")
    for name in ("accounts_per_call", "max_calls_in_flight", "batch_size", "batch_shards"):
        if getattr(ours, name) < 1:
            raise OptionError(f"--{name} is {getattr(ours, name)}: 1 or more is wanted")
    return RescoringConfig(
        project=project,
        subscription=_path(project, "subscriptions", ours.subscription, _SUBSCRIPTION, "--subscription"),
        id_label=ours.id_label or None,
        dead_letter_topic=_path(project, "topics", ours.dead_letter_topic, _TOPIC, "--dead_letter_topic"),
        dataset=ours.dataset,
        crm_dataset=ours.crm_dataset,
        gemini=GeminiSettings(
            project=project,
            location=ours.location,
            model=ours.model,
            prompt_version=ours.prompt_version,
            deadline_seconds=ours.call_deadline_seconds,
            max_calls_in_flight=ours.max_calls_in_flight,
        ),
        accounts_per_call=ours.accounts_per_call,
        materiality=load_materiality(Path(ours.materiality) if ours.materiality else None),
        schemas=load_avro_schemas(Path(ours.schemas) if ours.schemas else None),
        salesforce=_salesforce(ours),
        coalescing=CoalescingOptions(
            window_seconds=ours.coalesce_seconds,
            max_window_seconds=ours.coalesce_max_seconds,
            state_ttl_seconds=ours.coalesce_state_hours * 3600,
            gap_delay_seconds=0.0 if ours.salesforce_login_url else ours.gap_delay_seconds,
        ),
        batching=BatchingOptions(
            max_batch_size=ours.batch_size, max_wait_seconds=ours.batch_wait_seconds, shards=ours.batch_shards
        ),
    )


def _salesforce(options: RescoringOptions) -> SalesforceSettings | None:
    """Return where gaps are reread from; None: nowhere, and the warehouse's context is used."""
    if not options.salesforce_login_url:
        return None
    try:
        return SalesforceSettings(
            login_url=options.salesforce_login_url,
            client_id=options.salesforce_client_id,
            secret=options.salesforce_secret,
            flow=AuthFlow(options.salesforce_auth),
            username=options.salesforce_username,
        )
    except ValueError as error:
        raise OptionError(f"--salesforce_{error}") from None


def options_help() -> str:
    """Return this pipeline's options with their defaults, for a terminal."""
    parser = argparse.ArgumentParser(
        prog="rescore run", add_help=False, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    RescoringOptions._add_argparse_args(parser)  # noqa: SLF001 - Beam has no other way to ask
    return parser.format_help()


def unknown_flags(arguments: list[str]) -> list[str]:
    """Return the flags that neither Beam nor this pipeline knows; Beam by itself would drop them with a warning."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for options in (PipelineOptions, *PipelineOptions.__subclasses__()):
        options._add_argparse_args(parser)  # noqa: SLF001 - Beam has no other way to ask
    return [argument for argument in parser.parse_known_args(arguments)[1] if argument.startswith("-")]


def _path(project: str, kind: str, name: str, pattern: re.Pattern[str], flag: str) -> str:
    path = name if "/" in name else f"projects/{project}/{kind}/{name}"
    if not pattern.match(path):
        raise OptionError(f"{flag} is {name!r}: a name such as account-changes, or projects/P/{kind}/NAME is wanted")
    return path
