"""The failures that `rescore local fail` knows: of which service, and what one of them does."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pipeline.local.gemini.fault_kinds import FaultKind
from pipeline.terminal.times import parse_duration
from schemas.validation_errors import suggestion


class Service(StrEnum):
    """A service of the local stack that can fail."""

    GEMINI = "gemini"
    BIGQUERY = "bigquery"


@dataclass(frozen=True)
class Failure:
    """A failure: its service, its name, what a client of the service sees, and Gemini's fault."""

    service: Service
    name: str
    effect: str
    fault: FaultKind | None = None


FAILURES: Final = (
    Failure(Service.GEMINI, "503", "answers every call with 503, as if overloaded", FaultKind.HTTP_503),
    Failure(Service.GEMINI, "500", "answers every call with 500", FaultKind.HTTP_500),
    Failure(Service.GEMINI, "rate-limit", "answers every call with 429: the quota is used up", FaultKind.HTTP_429),
    Failure(Service.GEMINI, "forbidden", "answers every call with 403: the worker's role is gone", FaultKind.HTTP_403),
    Failure(Service.GEMINI, "retired", "answers every call with 404: the model was retired", FaultKind.HTTP_404),
    Failure(Service.GEMINI, "hanging", "takes calls and does not answer", FaultKind.NO_ANSWER),
    Failure(Service.GEMINI, "garbage", "answers with prose instead of JSON", FaultKind.PROSE),
    Failure(Service.GEMINI, "cut-off", "answers with half of the JSON", FaultKind.MAX_TOKENS),
    Failure(Service.GEMINI, "blocked", "blocks every answer for safety", FaultKind.FINISH_SAFETY),
    Failure(Service.GEMINI, "missing", "leaves an account out of each answer", FaultKind.ITEM_MISSING),
    Failure(Service.GEMINI, "swapped", "swaps two accounts in each answer", FaultKind.ITEMS_SWAPPED),
    Failure(
        Service.GEMINI,
        "out-of-range",
        "gives an account of each call an impossible score",
        FaultKind.SCORE_OUT_OF_RANGE,
    ),
    Failure(Service.BIGQUERY, "down", "is gone: connections are refused"),
)
"""In the order in which they are listed."""

FOR: Final = "--for"
_ABSENT: Final = {
    "salesforce": "the local stack has no Salesforce, so the mirror's values are used for gap events: "
    "docs/tour-of-failures.md says why, and what shows it",
    "redis": "the local stack has no Redis: run one of your own, name it by --redis_url of rescore run, and stop it",
    "pubsub": "Pub/Sub can't fail here, since it is in the process of rescore local: end that one to see the pipeline "
    "without it",
}


def find_failure(service: str, name: str) -> Failure:
    """Return the failure of these names.

    Raises:
        ValueError: There is none; the message says what there is instead.
    """
    if service in _ABSENT:
        raise ValueError(_ABSENT[service])
    of_service = [failure for failure in FAILURES if failure.service == service]
    if not of_service:
        raise ValueError(f"{service!r} is no service of the local stack: expected {_one_of(list(Service), service)}")
    for failure in of_service:
        if failure.name == name:
            return failure
    names = [failure.name for failure in of_service]
    raise ValueError(f"{service} has no failure {name!r}: expected {_one_of(names, name)}")


def parse_seconds(duration: str) -> float:
    """Return the seconds of a duration such as 30s.

    Raises:
        ValueError: It is none, or zero.
    """
    seconds = parse_duration(duration, FOR).total_seconds()
    if not seconds:
        raise ValueError(f"{FOR} is {duration!r}: expected one second or more, such as 30s or 5m")
    return seconds


def failure_lines() -> str:
    """Return a line for each failure: what to type, and what it does."""
    width = max(len(f"{failure.service} {failure.name}") for failure in FAILURES)
    return "\n".join(f"{f'{it.service} {it.name}':{width}}  {it.effect}" for it in FAILURES)


def _one_of(names: Sequence[str], given: str) -> str:
    meant = suggestion(given, names)
    listed = names[0] if len(names) == 1 else f"one of {', '.join(names)}"
    return f"{listed} (did you mean {meant}?)" if meant and len(names) > 1 else listed
