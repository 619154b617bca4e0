"""Logs of the code that runs on workers: entries of the standard library, which Beam hands on with their severity.

Nothing of the command's set-up runs in an SDK harness. Without a configuration structlog prints to standard output,
which Beam's boot loader hands on as DEBUG, with secrets in clear. So this module configures structlog when it is
imported, unless the process already did: `rescore` formats logs by `pipeline.terminal.logs`.

Beam's handler (apache_beam/runners/worker/log_handler.py) sends an entry's message, severity, logger and exception, and
adds the step and the work item; it sends no further fields. Therefore fields stand in the message, as `name=value`.
"""

import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from structlog.typing import EventDict, WrappedLogger

SECRET_NAMES: Final = frozenset(
    {
        "payload",
        "body",
        "subject",
        "notes",
        "text",
        "prompt",
        "answer",
        "token",
        "authorization",
        "password",
        "session_id",
    }
)

MAX_VALUE_CHARACTERS: Final = 2_000
"""Of a field in a message: an entry of Cloud Logging holds 256 KB."""

SAMPLED_PER_MINUTE: Final = 10
"""Entries of one kind; an outage fails thousands of calls a minute, and each worker process logs."""

_MINUTE: Final = 60.0
_KINDS_KEPT: Final = 1_024
_KIND: Final = ("logger", "event", "error_class", "service")
_TO_LOGGING: Final = frozenset({"exc_info", "stack_info"})


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger; its methods take a message and fields: `warning("row refused", event_id=…)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def without_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Redact the values whose names stand for free text or credentials."""
    return {name: "[redacted]" if name.lower() in SECRET_NAMES else value for name, value in event.items()}


@dataclass
class _Kind:
    """Entries of one kind in a minute."""

    begins_at: float
    count: int = 0


class Sampler:
    """A processor that lets the first entries of a kind pass in each minute, and counts the others.

    The first entry of a later minute says how many were left out, as `left_out`. Critical entries always pass. A kind
    is the message with its logger, error class and service.

    Args:
        per_minute: Entries of a kind that pass.
        clock: Seconds that only grow.
    """

    def __init__(self, per_minute: int = SAMPLED_PER_MINUTE, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._kinds: OrderedDict[tuple[str, ...], _Kind] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, _logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """Return the entry, or drop it."""
        if method in {"critical", "fatal"}:
            return event
        with self._lock:
            left_out = self._left_out(tuple(str(event.get(name, "")) for name in _KIND))
        if left_out is None:
            raise structlog.DropEvent
        return {**event, "left_out": left_out} if left_out else event

    def _left_out(self, name: tuple[str, ...]) -> int | None:
        """Count an entry; return how many were left out before it, or None to leave it out, too."""
        now = self._clock()
        kind = self._kinds.setdefault(name, _Kind(now))
        self._kinds.move_to_end(name)
        if len(self._kinds) > _KINDS_KEPT:
            self._kinds.popitem(last=False)
        left_out = 0
        if now - kind.begins_at >= _MINUTE:
            left_out = max(0, kind.count - self._per_minute)
            kind.begins_at, kind.count = now, 0
        kind.count += 1
        return left_out if kind.count <= self._per_minute else None


def as_message(_logger: WrappedLogger, _method: str, event: EventDict) -> tuple[tuple[str], dict[str, Any]]:
    """Return what the standard library's logger is called with: one message, which has the fields."""
    to_logging = {name: value for name, value in event.items() if name in _TO_LOGGING}
    fields = {name: value for name, value in event.items() if name not in {*_TO_LOGGING, "event", "logger"}}
    message = " ".join(itertools.chain([str(event.get("event", ""))], _fields(fields)))
    return (message,), to_logging


def _fields(fields: Mapping[str, Any]) -> list[str]:
    shown = {name: _shortened(str(value)) for name, value in sorted(fields.items()) if value is not None}
    return [str(_LOGFMT(None, "", {name: value})) for name, value in shown.items()]


def _shortened(value: str) -> str:
    return value if len(value) <= MAX_VALUE_CHARACTERS else f"{value[:MAX_VALUE_CHARACTERS]}…"


_LOGFMT: Final = structlog.processors.LogfmtRenderer()


def configure_worker_logs() -> None:
    """Have structlog write entries of the standard library, whose handlers and levels stay as Beam set them."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_logger_name,
            without_secrets,
            Sampler(),
            as_message,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


if not structlog.is_configured():
    configure_worker_logs()
