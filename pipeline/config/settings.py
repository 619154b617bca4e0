"""Options: type, validation, default and help text of each.

One frozen model, from which follow the command line's options, the Flex Template's parameters and the checks at the
start. `pipeline.config.sources` says where values come from, `pipeline.config.options` builds the configuration.

Rules for names are Google Cloud's: "Creating and managing projects", "Pub/Sub resource names", "Naming datasets",
"Bucket naming requirements", "Service account IDs".
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictStr,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import ErrorDetails

from pipeline.resources.names import CRM_DATASET, DEAD_LETTER_TOPIC, SCORING_DATASET, SUBSCRIPTION
from schemas.identifiers import (
    PROJECT_PART,
    DatasetId,
    DatasetPath,
    EmailAddress,
    Matches,
    ProjectId,
    Subscription,
    Topic,
)
from schemas.validation_errors import problem, suggestion
from transforms.admit.token_budget import BudgetAction
from transforms.clients.cloud_storage import URL_PATTERN, file_at
from transforms.clients.gemini_api import DEFAULT_LOCATION, DEFAULT_MODEL
from transforms.clients.salesforce_api import AuthFlow
from transforms.prompt.prompt import DEFAULT_PROMPT_VERSION, prompt_versions

BEAM_OPTIONS: Final = frozenset({"project", "region", "temp_location", "staging_location", "service_account_email"})
"""Options that Beam defines; their values are validated here too."""

SECRET_OPTIONS: Final = frozenset({"redis_url", "salesforce_client_id", "salesforce_secret", "salesforce_username"})
"""Options whose values no message quotes: a secret may have been put there by mistake."""

_QUOTED_CHARACTERS: Final = 60
_QUOTED: Final = re.compile(r"'([^']+)'")
_SECRET_NAME: Final = rf"{PROJECT_PART}/secrets/[\w-]+/versions/\w+|[A-Z][A-Z0-9]*(_[A-Z0-9]+)+"


def _underscored(value: object) -> object:
    return value.replace("-", "_") if isinstance(value, str) else value


def _prompt_version(version: str) -> str:
    if not version.startswith("gs://") and version not in prompt_versions():
        raise ValueError(f"expected one of {', '.join(prompt_versions())}")
    return version


def _file(path: object) -> object:
    return file_at(path) if isinstance(path, str) else path


NamedFile = Annotated[
    Any,
    BeforeValidator(_file),
    WithJsonSchema({"type": "string", "format": "path", "pattern": URL_PATTERN}),
]
"""A local file, or one in Cloud Storage; both are read when the job is submitted. A template takes the latter only."""

Choice = BeforeValidator(_underscored)
"""Of an enumeration, whose values may be spelled with - instead of _."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Percent = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
Region = Annotated[StrictStr, Matches("[a-z]+(-[a-z]+)+[0-9]+", "a region such as europe-west1")]
Location = Annotated[
    StrictStr, Matches("global|eu|us|[a-z]+(-[a-z]+)+[0-9]+", "a region such as europe-west1, eu, us or global")
]
Model = Annotated[StrictStr, Matches("[a-z0-9][a-z0-9.@-]{0,126}", "a model such as gemini-3.5-flash-lite")]
BucketPath = Annotated[
    StrictStr, Matches(r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/\S*)?", "a path such as gs://my-bucket/temp")
]
ServiceAccount = Annotated[
    StrictStr,
    Matches(
        r"[a-z0-9][a-z0-9.-]*@[a-z0-9.-]+\.gserviceaccount\.com",
        "a service account such as rescoring-worker@my-project.iam.gserviceaccount.com",
    ),
]
PromptVersion = Annotated[
    StrictStr,
    Matches(rf"[\w.-]{{1,64}}|{URL_PATTERN}", "a version such as v2, or gs://BUCKET/NAME.md"),
    AfterValidator(_prompt_version),
]
SecretName = Annotated[
    StrictStr,
    Matches(
        f"({_SECRET_NAME})?",
        "the name of an environment variable such as SALESFORCE_SECRET, or projects/P/secrets/S/versions/V",
    ),
]
RedisUrl = Annotated[
    StrictStr,
    Matches(
        rf"(rediss?://[^\s@]{{1,255}}|{_SECRET_NAME})?",
        "redis://HOST:PORT/0 without a password, the name of an environment variable, or "
        "projects/P/secrets/S/versions/V",
    ),
]
LoginUrl = Annotated[
    StrictStr,
    Matches(r"(https://[A-Za-z0-9.-]+(:[0-9]{1,5})?)?", "https:// and a host, such as https://acme.my.salesforce.com"),
]
ClientId = Annotated[StrictStr, Matches(r"[\w.-]{0,255}", "the consumer key of a connected app")]
IdLabel = Annotated[StrictStr, Matches(r"[\w.-]{0,256}", "the name of a message attribute")]
SalesforceUser = Annotated[EmailAddress, WithJsonSchema({"type": "string", "pattern": r"[^@\s]{1,64}@[^@\s]{1,255}"})]


class Settings(BaseModel):
    """Every option, validated. Durations are in seconds unless the name says otherwise; tokens are Gemini's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: ProjectId = Field(description="Google Cloud project")
    region: Region | None = Field(None, description="Dataflow region, such as europe-west1")
    temp_location: BucketPath | None = Field(None, description="Bucket path for Dataflow's temporary files")
    staging_location: BucketPath | None = Field(None, description="Bucket path for the job's package")
    service_account_email: ServiceAccount | None = Field(None, description="Service account of the workers")

    subscription: Subscription = Field(SUBSCRIPTION, description="Pub/Sub subscription of change events: name or path")
    id_label: IdLabel = Field("", description="Message attribute by which Dataflow drops duplicates; see docs/adr/061")
    dead_letter_topic: Topic = Field(DEAD_LETTER_TOPIC, description="Pub/Sub topic of the dead letters: name or path")
    dataset: DatasetId = Field(SCORING_DATASET, description="BigQuery dataset of scores, ledger and dead letters")
    crm_dataset: DatasetPath = Field(
        CRM_DATASET,
        description="BigQuery dataset of the CRM mirror, source of the contexts: a name, or project.dataset",
    )
    model: Model = Field(DEFAULT_MODEL, description="Gemini model that scores")
    location: Location = Field(DEFAULT_LOCATION, description="Vertex AI location of the model: a region, or global")
    prompt_version: PromptVersion = Field(
        DEFAULT_PROMPT_VERSION,
        description="Prompt version: a folder in transforms/prompt/versions, or an instruction gs://…/NAME.md",
    )
    accounts_per_call: Count = Field(5, description="Maximum number of accounts in one Gemini call")
    max_prompt_tokens: Count = Field(60_000, description="Maximum size of a Gemini call's prompt, in estimated tokens")
    max_calls_in_flight: Count = Field(
        256, description="Maximum number of concurrent Gemini calls of the job; each worker process gets its share"
    )
    call_deadline_seconds: Positive = Field(30.0, description="Deadline of a Gemini call in seconds, to its last byte")
    gemini_outage_deadline_seconds: Positive = Field(
        1_800.0, description="Seconds to hold accounts while Gemini is unavailable, before they become dead letters"
    )
    prices: NamedFile | None = Field(
        None, description="YAML file of prices, local or gs://…, replacing the packaged ones model by model"
    )
    daily_token_budget: Count | None = Field(None, description="Maximum prompt and output tokens per day (UTC)")
    budget_action: Annotated[BudgetAction, Choice] = Field(
        BudgetAction.WAIT, description="What accounts beyond the daily token budget do: wait or dead_letter"
    )
    shadow_model: Model | None = Field(None, description="Gemini model that scores a sample again, for comparison")
    shadow_prompt: PromptVersion | None = Field(
        None, description="Prompt version that scores a sample again; as --prompt_version"
    )
    shadow_percent: Percent = Field(5.0, description="Percentage of changes in the sample for the shadow")
    materiality: NamedFile | None = Field(
        None,
        description="YAML file, local or gs://…, of the entities that count and their material fields, replacing "
        "defaults by entity",
    )
    schemas: NamedFile | None = Field(
        None, description="Folder, local or gs://…, with the Avro schemas that decode field bitmaps"
    )
    coalesce_seconds: Positive = Field(20.0, description="Seconds without a change after which an account's burst ends")
    coalesce_max_seconds: Positive = Field(120.0, description="Maximum length of a burst in seconds")
    gap_delay_seconds: NotNegative = Field(
        60.0, description="Seconds to wait for the CRM mirror after a gap that is not reread"
    )
    coalesce_state_hours: Positive = Field(168.0, description="Hours to remember an account's last changes")
    salesforce_login_url: LoginUrl = Field(
        "", description="My Domain URL of Salesforce, to reread gaps; empty: gaps are not reread"
    )
    salesforce_client_id: ClientId = Field("", description="Consumer key of Salesforce's connected app")
    salesforce_secret: SecretName = Field(
        "",
        description="Environment variable or projects/P/secrets/S/versions/V with the connected app's secret or key",
    )
    salesforce_auth: Annotated[AuthFlow, Choice] = Field(
        AuthFlow.CLIENT_CREDENTIALS, description="OAuth flow for Salesforce: client_credentials or jwt_bearer"
    )
    salesforce_username: SalesforceUser | None = Field(None, description="Integration user, for the flow jwt_bearer")
    redis_url: RedisUrl = Field(
        "",
        description="Redis for the context cache: a redis:// or rediss:// URL without a password, or the environment "
        "variable or projects/P/secrets/S/versions/V that holds the URL; empty: none",
    )
    context_cache_seconds: NotNegative = Field(600.0, description="Seconds to cache an account context; 0: no cache")
    mirror_lag_seconds: NotNegative = Field(60.0, description="Seconds from a change until the CRM mirror has it")
    skip_unchanged_contexts: bool = Field(
        default=True, description="Carry over the last score if an account's context did not change"
    )
    unchanged_context_days: NotNegative = Field(7.0, description="Maximum age in days of a score that is carried over")
    bigquery_outage_deadline_seconds: NotNegative = Field(
        900.0, description="Seconds to hold work while BigQuery does not answer, before it becomes dead letters"
    )
    batch_size: Count = Field(40, description="Maximum number of accounts in one context query")
    batch_wait_seconds: NotNegative = Field(
        10.0, description="Maximum number of seconds to wait for a batch that does not fill a Gemini call"
    )
    batch_shards: Count = Field(1, description="Number of batches that fill in parallel")


OWN_OPTIONS: Final = tuple(name for name in Settings.model_fields if name not in BEAM_OPTIONS)
"""The options that Beam does not define, in the order in which they are listed."""


def read_settings(given: Mapping[str, object], label: Callable[[str], str]) -> tuple[Settings, dict[str, str]]:
    """Return the settings, and a line for each invalid value by its option; invalid options have their default.

    Args:
        given: The values that were set, by option.
        label: Returns what the user calls an option: `--dataset`, or the source that sets it.
    """
    try:
        return Settings.model_validate(dict(given)), {}
    except ValidationError as error:
        invalid = {str(it["loc"][0]): it for it in error.errors(include_url=False)}
        valid = {name: value for name, value in given.items() if name not in invalid}
        settings = Settings.model_validate({"project": "unknown-project", **valid})
        return settings, {name: _line(name, label(name), it) for name, it in invalid.items()}


def _line(name: str, label: str, error: ErrorDetails) -> str:
    if error["type"] == "missing":
        return f"{label} is missing: name the Google Cloud project, such as --project=my-project"
    if name == "redis_url" and "@" in str(error["input"]):
        return f"{label} has a password: name the environment variable or the secret that holds the URL instead"
    value = "refused" if name in SECRET_OPTIONS else repr(str(error["input"])[:_QUOTED_CHARACTERS])
    choices = _QUOTED.findall(error["ctx"]["expected"]) if error["type"] == "enum" else ()
    meant = suggestion(str(error["input"]), choices)
    return f"{label} is {value}: " + (f"did you mean {meant}?" if meant else problem(error))


def defaults() -> Iterator[tuple[str, object, str]]:
    """Yield each option that Beam does not define, with its default and help text."""
    for name in OWN_OPTIONS:
        field = Settings.model_fields[name]
        yield name, field.default, field.description or ""
