"""The settings: what each option of this pipeline means, which values it takes, and what it is unless somebody says so.

One frozen model, from which follow the command line's options, the Flex Template's parameters, and the checks at the
start. Where values come from is `pipeline.config.sources`; what the graph is built from is `pipeline.config.options`.

Rules for names are Google Cloud's: "Creating and managing projects", "Pub/Sub resource names", "Naming datasets",
"Bucket naming requirements", "Service account IDs".
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr, ValidationError

from pipeline.resources.names import CRM_DATASET, DEAD_LETTER_TOPIC, SCORING_DATASET, SUBSCRIPTION
from schemas.identifiers import DatasetId, EmailAddress, ProjectId
from transforms.admit.token_budget import BudgetAction
from transforms.clients.gemini_api import DEFAULT_LOCATION, DEFAULT_MODEL
from transforms.clients.salesforce_api import AuthFlow
from transforms.prompt.prompt import DEFAULT_PROMPT_VERSION, prompt_versions

OF_BEAM: Final = frozenset({"project", "region", "temp_location", "staging_location", "service_account_email"})
"""Options that Beam has already; what they may hold is checked here all the same."""

SECRET: Final = frozenset({"redis_url", "salesforce_client_id", "salesforce_secret", "salesforce_username"})
"""Options that no message quotes: whoever errs may have put a secret there."""

_QUOTED_CHARACTERS: Final = 60
_PUBSUB_NAME: Final = r"[A-Za-z][\w.~+%-]{2,254}"
_PROJECT_PART: Final = r"projects/[a-z0-9:.-]+"
_SECRET_PLACE: Final = rf"{_PROJECT_PART}/secrets/[\w-]+/versions/\w+|[A-Z][A-Z0-9]*(_[A-Z0-9]+)+"


@dataclass(frozen=True)
class Matches:
    """Has a text match a pattern as a whole; `wanted` tells the user what would."""

    pattern: str
    wanted: str

    def __call__(self, text: str) -> str:
        """Return the text.

        Raises:
            ValueError: It does not match.
        """
        if not re.fullmatch(self.pattern, text, re.ASCII):
            raise ValueError(f"{self.wanted} is wanted")
        return text


def _pubsub_name(text: str) -> str:
    if text.rpartition("/")[2].startswith("goog"):
        raise ValueError("Google keeps names that begin with goog to itself: another is wanted")
    return text


def _prompt_version(version: str) -> str:
    if version not in prompt_versions():
        raise ValueError(f"one of {', '.join(prompt_versions())} is wanted")
    return version


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Percent = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
Region = Annotated[StrictStr, AfterValidator(Matches("[a-z]+(-[a-z]+)+[0-9]+", "a region such as europe-west1"))]
Location = Annotated[
    StrictStr,
    AfterValidator(Matches("global|eu|us|[a-z]+(-[a-z]+)+[0-9]+", "a region such as europe-west1, eu, us or global")),
]
Model = Annotated[
    StrictStr, AfterValidator(Matches("[a-z0-9][a-z0-9.@-]{0,126}", "a model such as gemini-3.5-flash-lite"))
]
Bucket = Annotated[
    StrictStr,
    AfterValidator(Matches(r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/\S*)?", "a place such as gs://my-bucket/temp")),
]
ServiceAccount = Annotated[
    StrictStr,
    AfterValidator(
        Matches(
            r"[a-z0-9][a-z0-9.-]*@[a-z0-9.-]+\.gserviceaccount\.com",
            "a service account such as rescoring-worker@my-project.iam.gserviceaccount.com",
        )
    ),
]
Subscription = Annotated[
    StrictStr,
    AfterValidator(
        Matches(
            rf"({_PROJECT_PART}/subscriptions/)?{_PUBSUB_NAME}",
            "a name such as account-changes, or projects/P/subscriptions/NAME",
        )
    ),
    AfterValidator(_pubsub_name),
]
Topic = Annotated[
    StrictStr,
    AfterValidator(
        Matches(
            rf"({_PROJECT_PART}/topics/)?{_PUBSUB_NAME}", "a name such as account-changes, or projects/P/topics/NAME"
        )
    ),
    AfterValidator(_pubsub_name),
]
PromptVersion = Annotated[
    StrictStr,
    AfterValidator(Matches(r"[\w.-]{1,64}", "a version such as v2")),
    AfterValidator(_prompt_version),
]
SecretPlace = Annotated[
    StrictStr,
    AfterValidator(
        Matches(
            f"({_SECRET_PLACE})?",
            "the name of a variable such as SALESFORCE_SECRET, or projects/P/secrets/S/versions/V",
        )
    ),
]
RedisPlace = Annotated[
    StrictStr,
    AfterValidator(
        Matches(
            rf"(rediss?://[^\s@]{{1,255}}|{_SECRET_PLACE})?",
            "redis://HOST:PORT/0 without a password, a variable's name, or projects/P/secrets/S/versions/V",
        )
    ),
]
LoginUrl = Annotated[
    StrictStr,
    AfterValidator(
        Matches(
            r"(https://[A-Za-z0-9.-]+(:[0-9]{1,5})?)?", "https:// and a host, such as https://acme.my.salesforce.com,"
        )
    ),
]
ClientId = Annotated[StrictStr, AfterValidator(Matches(r"[\w.-]{0,255}", "the consumer key of a connected app"))]
IdLabel = Annotated[StrictStr, AfterValidator(Matches(r"[\w.-]{0,256}", "the name of a message attribute"))]
SalesforceUser = Annotated[EmailAddress, Matches(r"[^@\s]{1,64}@[^@\s]{1,255}", "")]
"""The pattern is what a template can say of it."""

_DATASET: Final = Matches(r"\w{1,1024}", "")


class Settings(BaseModel):
    """Every option, checked. Seconds are seconds, and tokens those that Gemini counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: ProjectId = Field(description="Google Cloud project")
    region: Region | None = Field(None, description="Dataflow's region")
    temp_location: Bucket | None = Field(None, description="Where Dataflow keeps what it needs for a while")
    staging_location: Bucket | None = Field(None, description="Where the job's package goes")
    service_account_email: ServiceAccount | None = Field(None, description="As whom workers run")

    subscription: Subscription = Field(SUBSCRIPTION, description="Change events: a name, or projects/…")
    id_label: IdLabel = Field("", description="Message attribute by which Dataflow drops repetitions: see docs/adr/061")
    dead_letter_topic: Topic = Field(DEAD_LETTER_TOPIC, description="What failed: a name, or projects/…")
    dataset: Annotated[DatasetId, _DATASET] = Field(
        SCORING_DATASET, description="Dataset of scores, ledger and dead letters"
    )
    crm_dataset: Annotated[DatasetId, _DATASET] = Field(
        CRM_DATASET, description="Dataset with the CRM's mirror, which context comes from"
    )
    model: Model = Field(DEFAULT_MODEL, description="Gemini model that scores")
    location: Location = Field(DEFAULT_LOCATION, description="Vertex AI location of the model, or global")
    prompt_version: PromptVersion = Field(
        DEFAULT_PROMPT_VERSION, description="Folder of transforms/prompt/versions that holds the instruction"
    )
    accounts_per_call: Count = Field(5, description="Accounts that share a Gemini call")
    max_prompt_tokens: Count = Field(60_000, description="Estimated tokens of a Gemini call's prompt, at most")
    max_calls_in_flight: Count = Field(256, description="Gemini calls at once in a worker process, at most")
    call_deadline_seconds: Positive = Field(30.0, description="For one Gemini call, to its last byte")
    gemini_outage_deadline_seconds: Positive = Field(
        1_800.0,
        description="Accounts are held for so long while Gemini is unavailable, and then become dead letters",
    )
    prices: Path | None = Field(
        None, description="YAML file of what models cost; over the packaged table, model by model"
    )
    daily_token_budget: Count | None = Field(
        None, description="Tokens a day (UTC), prompt and output, of all workers together"
    )
    budget_action: BudgetAction = Field(BudgetAction.WAIT, description="For accounts beyond it")
    shadow_model: Model | None = Field(None, description="Model that scores a sample a second time, to compare")
    shadow_prompt: PromptVersion | None = Field(
        None, description="Prompt version that scores a sample a second time, to compare"
    )
    shadow_percent: Percent = Field(5.0, description="Of the changes, if there is a shadow model or prompt")
    materiality: Path | None = Field(None, description="YAML file of the fields that matter; the default is packaged")
    schemas: Path | None = Field(None, description="Folder of Avro schemas that decode field bitmaps")
    coalesce_seconds: Positive = Field(20.0, description="A burst on an account ends this long after its last change")
    coalesce_max_seconds: Positive = Field(120.0, description="From a burst's first change to its end, at most")
    gap_delay_seconds: NotNegative = Field(60.0, description="Wait for the mirror after a gap that is not reread")
    coalesce_state_hours: Positive = Field(168.0, description="How long an account's last changes are remembered")
    salesforce_login_url: LoginUrl = Field("", description="My Domain of the organisation that gaps are reread from")
    salesforce_client_id: ClientId = Field("", description="Consumer key of the connected app")
    salesforce_secret: SecretPlace = Field(
        "", description="Where its secret is: a variable's name, or projects/P/secrets/…"
    )
    salesforce_auth: AuthFlow = Field(AuthFlow.CLIENT_CREDENTIALS, description="OAuth flow")
    salesforce_username: SalesforceUser | None = Field(None, description="The integration user, for JWT bearer")
    redis_url: RedisPlace = Field(
        "",
        description="Second tier of the context cache: redis:// or rediss:// without a password, or where the URL is "
        "kept: the name of a variable, or projects/P/secrets/S/versions/V. Empty: none",
    )
    context_cache_seconds: NotNegative = Field(600.0, description="How long a context may be used again; 0: never")
    mirror_lag_seconds: NotNegative = Field(60.0, description="From a change to when the CRM's mirror has it")
    skip_unchanged_contexts: bool = Field(default=True, description="Score no context again that did not change")
    unchanged_context_days: NotNegative = Field(
        7.0, description="A score older than this is asked for again, though its context is unchanged"
    )
    bigquery_outage_deadline_seconds: NotNegative = Field(
        900.0, description="How long work is held while BigQuery does not answer, before it becomes dead letters"
    )
    batch_size: Count = Field(40, description="Accounts that share a context query, at most")
    batch_wait_seconds: NotNegative = Field(1.0, description="Wait for a batch to fill up, at most")
    batch_shards: Count = Field(4, description="Batches that fill up side by side")


OURS: Final = tuple(name for name in Settings.model_fields if name not in OF_BEAM)
"""The options that Beam does not have, in the order in which they are listed."""


def read_settings(given: Mapping[str, object], label: Callable[[str], str]) -> tuple[Settings, list[str]]:
    """Return settings, and a line for each value that is none; an option whose value is wrong stands at its default.

    Args:
        given: What somebody said, by option.
        label: What the user knows an option by: `--dataset`, or where else it was said.
    """
    try:
        return Settings.model_validate(dict(given)), []
    except ValidationError as error:
        wrong = {str(it["loc"][0]): it for it in error.errors(include_url=False)}
        sound = {name: value for name, value in given.items() if name not in wrong}
        settings = Settings.model_validate({"project": "unknown-project", **sound})
        return settings, [_problem(name, label(name), it) for name, it in wrong.items()]


def _problem(name: str, label: str, error: Mapping[str, Any]) -> str:
    if error["type"] == "missing":
        return f"{label} is missing: name the Google Cloud project, such as --project=my-project"
    if name == "redis_url" and "@" in str(error["input"]):
        return f"{label} has a password: name the variable or the secret that holds the URL instead"
    value = "refused" if name in SECRET else repr(str(error["input"])[:_QUOTED_CHARACTERS])
    return f"{label} is {value}: {_wanted(error)}"


_WANTED: Final[Mapping[str, str]] = {
    "greater_than_equal": "{ge:g} or more is wanted",
    "greater_than": "more than {gt:g} is wanted",
    "less_than_equal": "at most {le:g} is wanted",
    "enum": "{expected} is wanted",
    "value_error": "{error}",
    "int_parsing": "a whole number is wanted",
    "int_from_float": "a whole number is wanted",
    "float_parsing": "a number is wanted",
    "finite_number": "a finite number is wanted",
    "bool_parsing": "true or false is wanted",
}
"""By pydantic's type of error."""


def _wanted(error: Mapping[str, Any]) -> str:
    wanted: str = _WANTED.get(error["type"], error["msg"])
    return wanted.format(**error.get("ctx", {})).replace("'", "")


def defaults() -> Iterator[tuple[str, object, str]]:
    """Yield each option that Beam does not have, with its default and what it means."""
    for name in OURS:
        field = Settings.model_fields[name]
        yield name, field.default, field.description or ""
