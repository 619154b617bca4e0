"""The Gemini stand-in as a child process, so that it takes no CPU time from this one."""

import json
import socket
import subprocess
import urllib.request
from typing import Any, Final, Self

from pipeline.local.child_process import start_module

_BACKLOG: Final = 2_048
"""How many connections may wait."""


class GeminiProcess:
    """`python -m pipeline.local.gemini` on a free port; a context manager."""

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self._config = config or {}
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.token_url = ""

    def start(self) -> None:
        """Start the stand-in and wait until it serves.

        Raises:
            RuntimeError: It ended instead; its error is on standard error.
        """
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start the stand-in without waiting; its addresses are known from now on, and calls wait until it serves."""
        with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener:
            descriptor, port = listener.fileno(), listener.getsockname()[1]
            self._process = start_module(
                *("pipeline.local.gemini", "--config", json.dumps(self._config), "--listener", str(descriptor)),
                stdout=subprocess.PIPE,
                pass_fds=(descriptor,),
            )
        self.url = f"http://127.0.0.1:{port}"
        self.token_url = f"{self.url}/token"

    def wait_until_ready(self) -> None:
        """Wait until the launched stand-in serves.

        Raises:
            RuntimeError: It ended instead; its error is on standard error.
        """
        line = self._process.stdout.readline() if self._process and self._process.stdout else ""
        if not line:
            self.stop()
            raise RuntimeError("the Gemini stand-in did not start: see its error above")

    def stats(self) -> dict[str, Any]:
        """Return the fields of `GeminiStats`: calls, tokens, times."""
        return self._admin("GET", "stats")

    def configuration(self) -> dict[str, Any]:
        """Return the fields of `GeminiConfig`."""
        return self._admin("GET", "config")

    def configure(self, **changes: Any) -> None:
        """Replace fields of the stand-in's configuration."""
        self._admin("PUT", "config", changes)

    def reset(self) -> None:
        """Reset the counts."""
        self._admin("POST", "reset")

    def _admin(self, method: str, resource: str, content: dict[str, Any] | None = None) -> dict[str, Any]:
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"{self.url}/admin/{resource}", data=body, method=method)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - http on loopback
            document: dict[str, Any] = json.load(answer)
            return document

    def stop(self) -> None:
        """End the process at once: it has nothing to keep."""
        if self._process:
            self._process.kill()
            self._process.wait()
            if self._process.stdout:
                self._process.stdout.close()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()
