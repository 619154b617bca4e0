"""From the command line to the configuration that the graph is built from.

`rescore run --list-options` prints the options.
"""

import argparse
import datetime as dt
import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NoReturn, TypeVar, cast

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, WorkerOptions

from pipeline.config.option_groups import incomplete_groups
from pipeline.config.options_help import add_options
from pipeline.config.prompts import named_prompt
from pipeline.config.settings import Settings, read_settings
from pipeline.config.sources import CONFIG, ResolvedOptions, resolve_options
from pipeline.config.workers import check_element_timeout, processes_of, share, worker_arguments
from pipeline.resources.names import resource_path
from schemas.validation_errors import suggestion
from transforms.admit.batching import BatchLimits
from transforms.admit.token_budget import TokenBudget
from transforms.clients.gemini_api import GeminiSettings
from transforms.clients.outage import OutageSettings
from transforms.clients.redis import RedisSettings
from transforms.clients.salesforce_api import SalesforceSettings
from transforms.clients.secrets import check_secret, is_secret_name
from transforms.coalesce.account_state import CoalescingLimits
from transforms.enrich.context_cache import CacheSettings
from transforms.errors import RescoringError
from transforms.filter.materiality import Materiality, load_materiality
from transforms.parse.avro_schemas import AvroSchemas, load_avro_schemas
from transforms.prompt.prompt import DEFAULT_PROMPT_VERSION
from transforms.score.prices import Price, load_prices, price_of

T = TypeVar("T")


class OptionError(ValueError):
    """Options are missing or invalid; the message has one line for each, with the remedy."""


class RescoringOptions(PipelineOptions):
    """This pipeline's options as Beam parses them: unset ones are None; Settings validates them."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add_options(parser)


@dataclass(frozen=True)
class ShadowConfig:
    """Model and prompt of the shadow scores, and the percentage of changes that get one."""

    gemini: GeminiSettings
    price: Price
    percent: float


@dataclass(frozen=True)
class RescoringConfig:
    """The validated options, from which the graph is built.

    `processes` is how many a job can have; `max_calls_in_flight` is the limit of all of them, of which `gemini` has one
    process's share.
    """

    project: str
    subscription: str
    id_label: str | None
    dead_letter_topic: str
    dataset: str
    crm_dataset: str
    gemini: GeminiSettings
    processes: int
    max_calls_in_flight: int
    accounts_per_call: int
    price: Price
    budget: TokenBudget | None
    shadow: ShadowConfig | None
    materiality: Materiality
    schemas: AvroSchemas
    salesforce: SalesforceSettings | None
    coalescing: CoalescingLimits
    coalesce_state_seconds: float
    batching: BatchLimits
    batch_shards: int
    cache: CacheSettings | None
    outage: OutageSettings
    unchanged_lookback: dt.timedelta


def command_line(
    arguments: Sequence[str], environment: Mapping[str, str] = os.environ, *, own_flags: Sequence[str] = ()
) -> ResolvedOptions:
    """Return a command line, completed from the environment and the config file, with the problems found there.

    Args:
        arguments: Options of Beam and of this pipeline as `--name=value`, and `--config=FILE`; - and _ are alike.
        environment: Completes the command line; see `pipeline.config.sources`.
        own_flags: The command's own options, one of which may be meant by an unknown one.

    Raises:
        OptionError: Beam can't read the value of one of its options.
    """
    line = resolve_options(arguments, environment, _actions())
    problems = [*line.problems, *unknown_arguments(line.arguments, own_flags)]
    return replace(line, problems=problems)


def complete_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the options of a job, completed with those of Beam that follow from the others."""
    options = PipelineOptions(list(arguments))
    settings, _ = read_settings(_given(options), str)
    return [*arguments, *worker_arguments(options, settings)]


def config_from(options: PipelineOptions, line: ResolvedOptions | None = None) -> RescoringConfig:
    """Return the configuration.

    Args:
        options: The options as Beam parsed them.
        line: The command line that they come from, which knows the source of each option.

    Raises:
        OptionError: Options are unknown, missing or invalid.
    """
    line = line or ResolvedOptions([])
    settings, invalid = read_settings(_given(options), line.label)
    # An invalid option has its default in `settings`, so that nothing built from it reports the same problem again.
    config, unusable = _built(settings, options, line.label)
    incomplete = incomplete_groups(settings, line.label, invalid)
    if problems := dict.fromkeys([*line.problems, *invalid.values(), *incomplete, *unusable]):
        raise OptionError("\n".join(problems))
    return config


def _given(options: PipelineOptions) -> dict[str, object]:
    values: dict[str, object] = {}
    for kind in (GoogleCloudOptions, WorkerOptions, RescoringOptions):
        values |= options.view_as(kind).get_all_options(drop_default=True, current_only=True)
    return {name: values[name] for name in Settings.model_fields if values.get(name) is not None}


class _Problems:
    """Collects problems, so that one run reports all of them."""

    def __init__(self, label: Callable[[str], str]) -> None:
        self.lines: list[str] = []
        self._label = label

    def of(self, build: Callable[[], T], instead: Callable[[], T] | None = None) -> T:
        """Return `build()`; if it fails, record the problem and return a stand-in, with which nothing is run."""
        try:
            return build()
        except OptionError as error:
            self.lines.append(str(error))
        except (ValueError, OSError, RescoringError) as error:
            name, colon, why = str(error).partition(": ")
            is_named = colon and name in Settings.model_fields
            self.lines.append(f"{self._label(name)}: {why}" if is_named else str(error))
        return instead() if instead else cast("T", None)


def _built(
    settings: Settings, options: PipelineOptions, label: Callable[[str], str]
) -> tuple[RescoringConfig, list[str]]:
    """Return the configuration, and the problems of building it."""
    problems = _Problems(label)
    problems.of(lambda: check_element_timeout(options, settings))
    processes = problems.of(lambda: processes_of(options), instead=lambda: 1)
    prices = problems.of(lambda: load_prices(settings.prices), instead=load_prices)
    prompt_version, instruction = problems.of(
        lambda: named_prompt(settings.prompt_version), instead=lambda: (DEFAULT_PROMPT_VERSION, None)
    )
    gemini = GeminiSettings(
        project=settings.project,
        location=settings.location,
        model=settings.model,
        prompt_version=prompt_version,
        instruction=instruction,
        deadline_seconds=settings.call_deadline_seconds,
        outage_deadline_seconds=settings.gemini_outage_deadline_seconds,
        max_calls_in_flight=share(settings.max_calls_in_flight, processes),
        max_prompt_tokens=settings.max_prompt_tokens,
    )
    config = RescoringConfig(
        project=settings.project,
        subscription=resource_path(settings.project, "subscriptions", settings.subscription),
        id_label=settings.id_label or None,
        dead_letter_topic=resource_path(settings.project, "topics", settings.dead_letter_topic),
        dataset=settings.dataset,
        crm_dataset=settings.crm_dataset,
        gemini=gemini,
        processes=processes,
        max_calls_in_flight=settings.max_calls_in_flight,
        accounts_per_call=settings.accounts_per_call,
        price=problems.of(lambda: price_of(prices, settings.model)),
        budget=_budget(settings),
        shadow=problems.of(lambda: _shadow(settings, gemini, prices)),
        materiality=problems.of(lambda: load_materiality(settings.materiality)),
        schemas=problems.of(lambda: load_avro_schemas(settings.schemas)),
        salesforce=problems.of(lambda: _salesforce(settings)),
        coalescing=problems.of(lambda: _coalescing(settings)),
        coalesce_state_seconds=settings.coalesce_state_hours * 3600,
        batching=BatchLimits(
            fills_call=settings.accounts_per_call,
            max_accounts=settings.batch_size,
            max_wait_seconds=settings.batch_wait_seconds,
        ),
        batch_shards=settings.batch_shards,
        cache=problems.of(lambda: _cache(settings)),
        outage=OutageSettings(deadline_seconds=settings.bigquery_outage_deadline_seconds),
        unchanged_lookback=dt.timedelta(
            days=settings.unchanged_context_days if settings.skip_unchanged_contexts else 0
        ),
    )
    return config, problems.lines


def _coalescing(settings: Settings) -> CoalescingLimits:
    if settings.coalesce_max_seconds < settings.coalesce_seconds:
        raise ValueError(
            f"coalesce_max_seconds: {settings.coalesce_max_seconds:g} is less than --coalesce_seconds, which is "
            f"{settings.coalesce_seconds:g}: set it to that or more"
        )
    return CoalescingLimits(
        window_seconds=settings.coalesce_seconds,
        max_window_seconds=settings.coalesce_max_seconds,
        gap_delay_seconds=0.0 if settings.salesforce_login_url else settings.gap_delay_seconds,
    )


def _cache(settings: Settings) -> CacheSettings | None:
    """Return the settings of the context cache; None: no cache."""
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
    """Return the daily token budget; None: no limit."""
    if settings.daily_token_budget is None:
        return None
    return TokenBudget(
        daily_tokens=settings.daily_token_budget,
        action=settings.budget_action,
        project=settings.project,
        dataset=settings.dataset,
    )


def _shadow(settings: Settings, gemini: GeminiSettings, prices: Mapping[str, Price]) -> ShadowConfig | None:
    """Return the shadow scores' configuration; None: no shadow scores."""
    if settings.shadow_model is None and settings.shadow_prompt is None:
        return None
    shadow = replace(gemini, model=settings.shadow_model or gemini.model)
    if settings.shadow_prompt:
        prompt_version, instruction = named_prompt(settings.shadow_prompt)
        shadow = replace(shadow, prompt_version=prompt_version, instruction=instruction)
    if shadow == gemini:
        raise OptionError("--shadow_model and --shadow_prompt equal --model and --prompt_version: name another one")
    return ShadowConfig(shadow, price_of(prices, shadow.model), settings.shadow_percent)


def _salesforce(settings: Settings) -> SalesforceSettings | None:
    """Return the Salesforce organisation to reread gaps from; None: gaps are not reread."""
    if not settings.salesforce_login_url:
        return None
    check_secret(settings.salesforce_secret, "salesforce_secret")
    if not (settings.salesforce_client_id and settings.salesforce_secret):
        return None  # `incomplete_groups` refuses one without the others
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


class _Parser(argparse.ArgumentParser):
    """Knows every option; tells errors as this pipeline does, and does not exit."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(plain_error(message))


_ARGPARSE_ERROR: Final = re.compile(r"argument (--\w+)\S*: (.*)", re.DOTALL)
_BAD_VALUE: Final = re.compile(r"invalid (\w+)(?: value)?: '(.*?)'(?: \(choose from (.*)\))?", re.DOTALL)
_EXPECTED: Final = {"int": "a whole number", "float": "a number", "loads": "JSON"}


def plain_error(message: str) -> str:
    """Return an error of argparse in the form of this pipeline's own errors."""
    match = _ARGPARSE_ERROR.fullmatch(message)
    if not match:
        return message
    option, what = match.groups()
    if not (bad := _BAD_VALUE.fullmatch(what)):
        return f"{option}: {what}"
    kind, value, listed = bad.groups()
    choices = [choice.strip("' ") for choice in (listed or "").split(",")]
    if kind == "choice":
        meant = suggestion(value.upper(), choices) or suggestion(value, choices)
        return f"{option} is {value!r}: " + (f"did you mean {meant}?" if meant else f"expected {' or '.join(choices)}")
    return f"{option} is {value!r}: expected {_EXPECTED.get(kind, 'another value')}"


@functools.cache
def _parser() -> argparse.ArgumentParser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    for options in (PipelineOptions, *PipelineOptions.__subclasses__()):
        options._add_argparse_args(parser)  # noqa: SLF001 - Beam has no public method for it
    return parser


def _actions() -> dict[str, argparse.Action]:
    """Return every option of Beam and of this pipeline, by name."""
    return {text.removeprefix("--"): action for action in _parser()._actions for text in action.option_strings}  # noqa: SLF001 - argparse has no public method for it


def unknown_arguments(arguments: list[str], own_flags: Sequence[str] = ()) -> Iterator[str]:
    """Yield a line for each argument that neither Beam nor this pipeline knows; Beam drops them with a warning.

    Args:
        arguments: The command line.
        own_flags: The command's own options, which are known elsewhere.

    Raises:
        OptionError: Beam can't read the value of one of its options.
    """
    known = [*(f"--{name}" for name in _actions()), *own_flags, f"--{CONFIG}"]
    may_be_value = False
    for argument in _parser().parse_known_args(arguments)[1]:
        flag, has_value, _ = argument.partition("=")
        if flag.startswith("-"):
            yield f"{flag} is not an option of this pipeline or of Beam: {_way_out(flag, known)}"
        elif not may_be_value:
            yield f"{argument[:60]!r} is not an option: write options as --name=value"
        may_be_value = flag.startswith("-") and not has_value


def _way_out(flag: str, known: Sequence[str]) -> str:
    meant = suggestion(flag, known) or suggestion(flag.replace("_", "-"), known)
    return f"did you mean {meant}?" if meant else "see rescore run --list-options"
