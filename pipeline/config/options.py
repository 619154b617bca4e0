"""The pipeline's options: Beam's own, and these; `rescore run --list-options` prints them."""

import argparse
import datetime as dt
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict, TypeVar, cast

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, WorkerOptions

from pipeline.config.settings import Settings, defaults, read_settings
from pipeline.config.sources import Layered, layered
from transforms.admit.token_budget import TokenBudget
from transforms.clients.gemini_api import GeminiSettings
from transforms.clients.outage import OutageSettings
from transforms.clients.redis import RedisSettings
from transforms.clients.salesforce_api import SalesforceSettings
from transforms.clients.secrets import check_secret, is_secret_name
from transforms.enrich.context_cache import CacheSettings
from transforms.errors import RescoringError
from transforms.filter.materiality import Materiality, load_materiality
from transforms.parse.avro_schemas import AvroSchemas, load_avro_schemas
from transforms.score.prices import Price, load_prices, price_of

T = TypeVar("T")


class OptionError(ValueError):
    """Options are missing or malformed; the message has a line for each, which says what to write."""


class RescoringOptions(PipelineOptions):
    """The options of this pipeline, as Beam parses them: what nobody says is None; what may be said is in Settings."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        for name, default, meaning in defaults():
            shown = f" (default: {default})" if default not in (None, "") else ""
            parser.add_argument(f"--{name}", help=(meaning + shown).replace("%", "%%"))


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


def command_line(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Layered:
    """Return a command line with what the environment and the configuration file add to it, and what is wrong there.

    Args:
        arguments: Beam's options and ours, `--name=value` each, and `--config=FILE`.
        environment: Says what the command line does not; see `pipeline.config.sources`.
    """
    line = layered(arguments, environment, _actions())
    unknown = (
        f"{flag} is no option of the pipeline or of Beam: see rescore run --list-options"
        for flag in unknown_flags(line.arguments)
    )
    return replace(line, problems=[*line.problems, *unknown])


def config_from(options: PipelineOptions, line: Layered | None = None) -> RescoringConfig:
    """Return the checked options.

    Args:
        options: As Beam has parsed them.
        line: The command line that they are from, which knows where each was said.

    Raises:
        OptionError: Some are unknown, missing or malformed.
    """
    line = line or Layered([])
    settings, wrong = read_settings(_given(options), line.label)
    # What rests on a wrong option is built from its default: its fault is told once.
    config, amiss = _built(settings, line.label)
    if problems := dict.fromkeys([*line.problems, *wrong, *amiss]):
        raise OptionError("\n".join(problems))
    return config


def _given(options: PipelineOptions) -> dict[str, object]:
    values: dict[str, object] = {}
    for kind in (GoogleCloudOptions, WorkerOptions, RescoringOptions):
        values |= options.view_as(kind).get_all_options(drop_default=True, current_only=True)
    return {name: values[name] for name in Settings.model_fields if values.get(name) is not None}


class _Problems:
    """Gathers what is wrong, so that all of it is told at once."""

    def __init__(self, label: Callable[[str], str]) -> None:
        self.lines: list[str] = []
        self._label = label

    def of(self, build: Callable[[], T], instead: Callable[[], T] | None = None) -> T:
        """Return what is built; if it can't be, note why: what stands in its place is never used to run anything."""
        try:
            return build()
        except OptionError as error:
            self.lines.append(str(error))
        except (ValueError, OSError, RescoringError) as error:
            name, colon, why = str(error).partition(": ")
            is_named = colon and name in Settings.model_fields
            self.lines.append(f"{self._label(name)}: {why}" if is_named else str(error))
        return instead() if instead else cast("T", None)


def _built(settings: Settings, label: Callable[[str], str]) -> tuple[RescoringConfig, list[str]]:
    """Return what the graph is built from, and what stands in the way."""
    problems = _Problems(label)
    prices = problems.of(lambda: load_prices(settings.prices), instead=load_prices)
    gemini = GeminiSettings(
        project=settings.project,
        location=settings.location,
        model=settings.model,
        prompt_version=settings.prompt_version,
        deadline_seconds=settings.call_deadline_seconds,
        outage_deadline_seconds=settings.gemini_outage_deadline_seconds,
        max_calls_in_flight=settings.max_calls_in_flight,
        max_prompt_tokens=settings.max_prompt_tokens,
    )
    config = RescoringConfig(
        project=settings.project,
        subscription=_path(settings.project, "subscriptions", settings.subscription),
        id_label=settings.id_label or None,
        dead_letter_topic=_path(settings.project, "topics", settings.dead_letter_topic),
        dataset=settings.dataset,
        crm_dataset=settings.crm_dataset,
        gemini=gemini,
        accounts_per_call=settings.accounts_per_call,
        price=problems.of(lambda: price_of(prices, settings.model)),
        budget=_budget(settings),
        shadow=problems.of(lambda: _shadow(settings, gemini, prices)),
        materiality=problems.of(lambda: load_materiality(settings.materiality)),
        schemas=problems.of(lambda: load_avro_schemas(settings.schemas)),
        salesforce=problems.of(lambda: _salesforce(settings)),
        coalescing=problems.of(lambda: _coalescing(settings)),
        batching=BatchingOptions(
            max_batch_size=settings.batch_size,
            max_wait_seconds=settings.batch_wait_seconds,
            shards=settings.batch_shards,
        ),
        cache=problems.of(lambda: _cache(settings)),
        outage=OutageSettings(deadline_seconds=settings.bigquery_outage_deadline_seconds),
        unchanged_lookback=dt.timedelta(
            days=settings.unchanged_context_days if settings.skip_unchanged_contexts else 0
        ),
    )
    return config, problems.lines


def _coalescing(settings: Settings) -> CoalescingOptions:
    if settings.coalesce_max_seconds < settings.coalesce_seconds:
        raise ValueError(
            f"coalesce_max_seconds: {settings.coalesce_max_seconds:g} is less than --coalesce_seconds, which is "
            f"{settings.coalesce_seconds:g}: a burst may end no earlier than its last change's wait"
        )
    return CoalescingOptions(
        window_seconds=settings.coalesce_seconds,
        max_window_seconds=settings.coalesce_max_seconds,
        state_ttl_seconds=settings.coalesce_state_hours * 3600,
        gap_delay_seconds=0.0 if settings.salesforce_login_url else settings.gap_delay_seconds,
    )


def _cache(settings: Settings) -> CacheSettings | None:
    """Return how contexts are cached; None: not at all."""
    if not settings.context_cache_seconds:
        return None
    if is_secret_name(settings.redis_url):
        check_secret(settings.redis_url, "redis_url")
    return CacheSettings(
        ttl_seconds=settings.context_cache_seconds,
        mirror_lag_seconds=settings.mirror_lag_seconds,
        redis=RedisSettings(settings.redis_url) if settings.redis_url else None,
    )


def _budget(settings: Settings) -> TokenBudget | None:
    """Return how many tokens a day may cost; None: as many as it takes."""
    if settings.daily_token_budget is None:
        return None
    return TokenBudget(
        daily_tokens=settings.daily_token_budget,
        action=settings.budget_action,
        project=settings.project,
        dataset=settings.dataset,
    )


def _shadow(settings: Settings, gemini: GeminiSettings, prices: Mapping[str, Price]) -> ShadowConfig | None:
    """Return what scores a sample a second time; None: nothing does."""
    if settings.shadow_model is None and settings.shadow_prompt is None:
        return None
    shadow = replace(
        gemini,
        model=settings.shadow_model or gemini.model,
        prompt_version=settings.shadow_prompt or gemini.prompt_version,
    )
    if shadow == gemini:
        raise OptionError("--shadow_model and --shadow_prompt are those that score already: name another")
    return ShadowConfig(shadow, price_of(prices, shadow.model), settings.shadow_percent)


def _salesforce(settings: Settings) -> SalesforceSettings | None:
    """Return where gaps are reread from; None: nowhere, and the warehouse's context is used."""
    if not settings.salesforce_login_url:
        return None
    check_secret(settings.salesforce_secret, "salesforce_secret")
    try:
        return SalesforceSettings(
            login_url=settings.salesforce_login_url,
            client_id=settings.salesforce_client_id,
            secret=settings.salesforce_secret,
            flow=settings.salesforce_auth,
            username=settings.salesforce_username,
        )
    except ValueError as error:
        raise ValueError(f"salesforce_{error}") from None


def options_help() -> str:
    """Return this pipeline's options with their defaults, for a terminal."""
    parser = argparse.ArgumentParser(
        prog="rescore run", usage="rescore run [--config FILE] [--NAME=VALUE …]", add_help=False
    )
    RescoringOptions._add_argparse_args(parser)  # noqa: SLF001 - Beam has no other way to ask
    return parser.format_help()


@functools.cache
def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for options in (PipelineOptions, *PipelineOptions.__subclasses__()):
        options._add_argparse_args(parser)  # noqa: SLF001 - Beam has no other way to ask
    return parser


def _actions() -> dict[str, argparse.Action]:
    """Return every option there is, by the name that is typed."""
    return {text.removeprefix("--"): action for action in _parser()._actions for text in action.option_strings}  # noqa: SLF001 - argparse has no other way to ask


def unknown_flags(arguments: list[str]) -> list[str]:
    """Return the flags that neither Beam nor this pipeline knows; Beam by itself would drop them with a warning."""
    return [argument for argument in _parser().parse_known_args(arguments)[1] if argument.startswith("-")]


def _path(project: str, kind: str, name: str) -> str:
    return name if "/" in name else f"projects/{project}/{kind}/{name}"
