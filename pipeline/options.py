"""The pipeline's options: Beam's own, and these; `rescore run --list-options` prints them."""

import argparse
import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypedDict

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from pipeline.resources import CRM_DATASET, DEAD_LETTER_TOPIC, SCORING_DATASET, SUBSCRIPTION
from pipeline.write_scores import ScoreWriteMethod
from schemas.identifiers import DatasetId, EmailAddress, ProjectId, checked
from transforms.avro_schemas import AvroSchemas, load_avro_schemas
from transforms.context_cache import CacheSettings
from transforms.generation import DEFAULT_LOCATION, DEFAULT_MODEL, GeminiSettings, TransportKind
from transforms.materiality import Materiality, load_materiality
from transforms.outage import OutageSettings
from transforms.prices import Price, load_prices, price_of
from transforms.prompt import DEFAULT_PROMPT_VERSION, prompt_versions
from transforms.redis_store import RedisSettings
from transforms.salesforce_login import AuthFlow, SalesforceSettings
from transforms.token_budget import BudgetAction, TokenBudget

_SUBSCRIPTION: Final = re.compile(r"projects/[^/]+/subscriptions/[A-Za-z][\w.~+%-]{2,254}\Z")
_TOPIC: Final = re.compile(r"projects/[^/]+/topics/[A-Za-z][\w.~+%-]{2,254}\Z")
_WHOLE: Final = 100.0
"""Percent."""


_REDIS_HELP: Final = (
    "Second tier of the context cache: redis:// or rediss:// without a password, or where the URL is kept: the name of "
    "a variable, or projects/P/secrets/S/versions/V. Empty: none"
)
_OUTAGE_HELP: Final = "How long work is held while BigQuery does not answer, before it becomes dead letters"
_SECONDS: Final = (
    "context_cache_seconds",
    "mirror_lag_seconds",
    "unchanged_context_days",
    "bigquery_outage_deadline_seconds",
)
_METHODS: Final = [method.value for method in ScoreWriteMethod]
_METHOD_HELP: Final = (
    "How scores reach BigQuery; STORAGE_WRITE_API_AT_LEAST_ONCE has never been run by this project: it needs Java and "
    "Beam's expansion service"
)


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
        add(
            "--prompt_version",
            default=DEFAULT_PROMPT_VERSION,
            help="Folder of transforms/prompts that holds the instruction",
        )
        add("--accounts_per_call", type=int, default=5, help="Accounts that share a Gemini call")
        add("--max_prompt_tokens", type=int, default=60_000, help="Estimated tokens of a Gemini call's prompt, at most")
        add("--max_calls_in_flight", type=int, default=256, help="Gemini calls at once in a worker process, at most")
        add("--call_deadline_seconds", type=float, default=30.0, help="For one Gemini call, to its last byte")
        add(
            "--gemini_outage_deadline_seconds",
            type=float,
            default=1_800.0,
            help="Accounts are held for so long while Gemini is unavailable, and then become dead letters",
        )
        add(
            "--gemini_transport",
            default=TransportKind.REST,
            choices=list(TransportKind),
            help="What carries Gemini calls: its REST API, or Google's SDK, which takes ten times the CPU",
        )
        add("--prices", help="YAML file of what models cost; over the packaged table, model by model")
        add("--daily_token_budget", type=int, help="Tokens a day (UTC), prompt and output, of all workers together")
        add("--budget_action", default=BudgetAction.WAIT, choices=list(BudgetAction), help="For accounts beyond it")
        add("--shadow_model", help="Model that scores a sample a second time, to compare")
        add("--shadow_prompt", help="Prompt version that scores a sample a second time, to compare")
        add("--shadow_percent", type=float, default=5.0, help="Of the changes, if there is a shadow model or prompt")
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
        add("--redis_url", default="", help=_REDIS_HELP)
        add("--context_cache_seconds", type=float, default=600.0, help="How long a context may be used again; 0: never")
        add("--mirror_lag_seconds", type=float, default=60.0, help="From a change to when the CRM's mirror has it")
        add("--skip_unchanged_contexts", type=_switch, default=True, help="Score no context again that did not change")
        add(
            "--unchanged_context_days",
            type=float,
            default=7.0,
            help="A score older than this is asked for again, though its context is unchanged",
        )
        add("--bigquery_outage_deadline_seconds", type=float, default=900.0, help=_OUTAGE_HELP)
        add("--score_write_method", default=ScoreWriteMethod.STREAMING_INSERTS, choices=_METHODS, help=_METHOD_HELP)
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
class ShadowConfig:
    """What scores a sample a second time."""

    gemini: GeminiSettings
    price: Price
    percent: float


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
    price: Price
    budget: TokenBudget | None
    shadow: ShadowConfig | None
    materiality: Materiality
    schemas: AvroSchemas
    salesforce: SalesforceSettings | None
    coalescing: CoalescingOptions
    batching: BatchingOptions
    cache: CacheSettings | None
    outage: OutageSettings
    unchanged_lookback: dt.timedelta
    score_write_method: ScoreWriteMethod


def config_from(options: PipelineOptions) -> RescoringConfig:
    """Return the checked options.

    Raises:
        OptionError: One is missing or malformed.
        PricesError: The model has no price, or the table is wrong.
    """
    ours = options.view_as(RescoringOptions)
    project = options.view_as(GoogleCloudOptions).project
    if not project:
        raise OptionError("--project is missing: name the Google Cloud project, such as --project=my-project")
    for name in _SECONDS:
        if getattr(ours, name) < 0:
            raise OptionError(f"--{name} is {getattr(ours, name):g}: 0 or more is wanted")
    project = _checked(ProjectId, project, "--project")
    for name in ("accounts_per_call", "max_prompt_tokens", "max_calls_in_flight", "batch_size", "batch_shards"):
        if getattr(ours, name) < 1:
            raise OptionError(f"--{name} is {getattr(ours, name)}: 1 or more is wanted")
    for name in ("call_deadline_seconds", "gemini_outage_deadline_seconds"):
        if getattr(ours, name) <= 0:
            raise OptionError(f"--{name} is {getattr(ours, name):g}: more than 0 is wanted")
    prices = load_prices(Path(ours.prices) if ours.prices else None)
    gemini = GeminiSettings(
        project=project,
        location=ours.location,
        model=ours.model,
        prompt_version=_prompt_version("--prompt_version", ours.prompt_version),
        deadline_seconds=ours.call_deadline_seconds,
        outage_deadline_seconds=ours.gemini_outage_deadline_seconds,
        max_calls_in_flight=ours.max_calls_in_flight,
        max_prompt_tokens=ours.max_prompt_tokens,
        transport=TransportKind(ours.gemini_transport),
    )
    return RescoringConfig(
        project=project,
        subscription=_path(project, "subscriptions", ours.subscription, _SUBSCRIPTION, "--subscription"),
        id_label=ours.id_label or None,
        dead_letter_topic=_path(project, "topics", ours.dead_letter_topic, _TOPIC, "--dead_letter_topic"),
        dataset=_checked(DatasetId, ours.dataset, "--dataset"),
        crm_dataset=_checked(DatasetId, ours.crm_dataset, "--crm_dataset"),
        gemini=gemini,
        accounts_per_call=ours.accounts_per_call,
        price=price_of(prices, ours.model),
        budget=_budget(ours, project),
        shadow=_shadow(ours, gemini, prices),
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
        cache=_cache(ours),
        outage=OutageSettings(deadline_seconds=ours.bigquery_outage_deadline_seconds),
        unchanged_lookback=dt.timedelta(days=ours.unchanged_context_days if ours.skip_unchanged_contexts else 0),
        score_write_method=ScoreWriteMethod(ours.score_write_method),
    )


def _cache(options: RescoringOptions) -> CacheSettings | None:
    """Return how contexts are cached; None: not at all."""
    if not options.context_cache_seconds:
        return None
    try:
        return CacheSettings(
            ttl_seconds=options.context_cache_seconds,
            mirror_lag_seconds=options.mirror_lag_seconds,
            redis=RedisSettings(options.redis_url) if options.redis_url else None,
        )
    except ValueError as error:
        raise OptionError(f"--{error}") from None


def _switch(text: str) -> bool:
    """Read true or false; argparse itself takes every text but the empty one for true."""
    if text.lower() not in {"true", "false"}:
        raise argparse.ArgumentTypeError("true or false is wanted")
    return text.lower() == "true"


def _prompt_version(flag: str, version: str) -> str:
    if version not in prompt_versions():
        raise OptionError(f"{flag} is {version!r}: one of {', '.join(prompt_versions())} is wanted")
    return version


def _budget(options: RescoringOptions, project: str) -> TokenBudget | None:
    """Return how many tokens a day may cost; None: as many as it takes."""
    if options.daily_token_budget is None:
        return None
    if options.daily_token_budget < 1:
        raise OptionError(f"--daily_token_budget is {options.daily_token_budget}: 1 or more is wanted")
    return TokenBudget(
        daily_tokens=options.daily_token_budget,
        action=BudgetAction(options.budget_action),
        project=project,
        dataset=options.dataset,
    )


def _shadow(options: RescoringOptions, gemini: GeminiSettings, prices: Mapping[str, Price]) -> ShadowConfig | None:
    """Return what scores a sample a second time; None: nothing does."""
    if options.shadow_model is None and options.shadow_prompt is None:
        return None
    shadow = replace(
        gemini,
        model=options.shadow_model or gemini.model,
        prompt_version=_prompt_version("--shadow_prompt", options.shadow_prompt or gemini.prompt_version),
    )
    if shadow == gemini:
        raise OptionError("--shadow_model and --shadow_prompt are those that score already: name another")
    if not 0 < options.shadow_percent <= _WHOLE:
        raise OptionError(f"--shadow_percent is {options.shadow_percent:g}: more than 0, and at most 100, is wanted")
    return ShadowConfig(shadow, price_of(prices, shadow.model), options.shadow_percent)


def _salesforce(options: RescoringOptions) -> SalesforceSettings | None:
    """Return where gaps are reread from; None: nowhere, and the warehouse's context is used."""
    if not options.salesforce_login_url:
        return None
    if options.salesforce_username:
        _checked(EmailAddress, options.salesforce_username, "--salesforce_username")
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


def _checked(kind: Any, value: object, flag: str) -> str:
    try:
        return checked(kind, value, flag)
    except ValueError as error:
        raise OptionError(str(error)) from None
