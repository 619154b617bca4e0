"""Logs on standard error: JSON in Cloud Logging's shape, or readable lines on a terminal.

Callers log values by name (event_id, account_id, stage). Values whose names stand for free text or secrets are
redacted, as they are on workers, which have no terminal and no set-up of a command: `transforms.logs`.
"""

import logging
import sys
from typing import Any, Final

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from transforms.logs import without_secrets

_NOT_WORTH_READING: Final = (
    # google-auth looks up in the background which regions a service account may use, and works without an answer. The
    # local stack's account has none.
    "/allowedLocations",
    # google-auth again, before it raises that there are no credentials.
    "Authentication failed using Compute Engine authentication",
)
_SEVERITIES: Final = {"warn": "WARNING", "exception": "ERROR", "fatal": "CRITICAL"}


def configure_logging(*, verbose: bool = False) -> None:
    """Send every log of this process, also those of Beam and other libraries, through one formatter."""
    on_terminal = sys.stderr.isatty()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        without_secrets,
    ]
    last: list[Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if on_terminal
        else [structlog.processors.format_exc_info, cloud_logging_entry, structlog.processors.JSONRenderer(_dumps)]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(_is_worth_reading)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO if verbose else logging.WARNING)
    # Google's clients cut their logger off, unless it has a level: it would write plain lines to standard error.
    google = logging.getLogger("google")
    google.setLevel(root.level)
    google.propagate = True
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _is_worth_reading(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return not any(part in message for part in _NOT_WORTH_READING)


def cloud_logging_entry(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Use Cloud Logging's names for severity, message and trace."""
    level = str(event.pop("level", "info"))
    entry: dict[str, Any] = {"severity": _SEVERITIES.get(level, level.upper()), "message": event.pop("event", "")}
    if trace_id := event.pop("trace_id", None):
        entry["logging.googleapis.com/trace"] = trace_id
    return entry | dict(event)


def _dumps(value: Any, **_options: Any) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
