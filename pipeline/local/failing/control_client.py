"""Ask the running stack of a shell's exports to fail, or to work again."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from pipeline.local.shell_exports import CONTROL, NO_STACK

_PATIENCE_SECONDS: Final = 8.0
"""For an answer at all."""

_SECONDS: Final = 90.0
"""BigQuery takes seconds to start again."""


def ask_to_fail(
    environment: Mapping[str, str], service: str, failure: str, *, seconds: float, only: str | None
) -> dict[str, Any]:
    """Have a service fail; return its `effect`, and `until` when.

    Raises:
        ValueError: There is no such failure, or no local stack in the environment.
        RuntimeError: The stack is gone.
    """
    asked = {"service": service, "failure": failure, "seconds": seconds} | ({"only": only} if only else {})
    return _ask(environment, "POST", f"?{urlencode(asked)}")


def ask_to_heal(environment: Mapping[str, str]) -> list[str]:
    """Have every service work again; return the failures that this ended.

    Raises:
        ValueError: There is no local stack in the environment, or a service does not work again.
        RuntimeError: The stack is gone.
    """
    ended: list[str] = _ask(environment, "DELETE")["ended"]
    return ended


def _ask(environment: Mapping[str, str], method: str, query: str = "") -> dict[str, Any]:
    address = environment.get(CONTROL)
    if not address:
        raise ValueError(NO_STACK)
    host = urlsplit(address).netloc  # the rest of the address is a secret
    request = urllib.request.Request(f"{address}/failures{query}", method=method)  # noqa: S310 - loopback
    try:
        with suppress(urllib.error.HTTPError):  # 405, which is an answer
            urllib.request.urlopen(f"{address}/failures", timeout=_PATIENCE_SECONDS).close()  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 - http on loopback
            document: dict[str, Any] = json.load(answer)
            return document
    except urllib.error.HTTPError as error:
        raise ValueError(_reason(error)) from None
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        raise RuntimeError(
            f"the local stack of this shell's exports does not answer at {host}: start rescore local again, and paste "
            "its exports"
        ) from None


def _reason(error: urllib.error.HTTPError) -> str:
    """Return what the control says; another server at its address says something else."""
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return f"the local stack of this shell's exports is gone: its address answers with {error.code}"
