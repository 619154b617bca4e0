"""The Gemini stand-in as a child process, so that what it costs is not the pipeline's."""

import json
import subprocess
import sys
import urllib.request
from typing import Any, Final, Self

STOP_TIMEOUT_SECONDS: Final = 10.0


class GeminiProcess:
    """`python -m pipeline.local.gemini` on a free port; a context manager."""

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self._config = config or {}
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        self.token_url = ""

    def start(self) -> None:
        """Start the stand-in and wait until it serves.

        Raises:
            RuntimeError: It ended instead; what it said stands on standard error.
        """
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, and arguments of ours
            [sys.executable, "-m", "pipeline.local.gemini", "--config", json.dumps(self._config)],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C ends the command first, and then this, in that order
        )
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            self.stop()
            raise RuntimeError("the Gemini stand-in did not start: its reason stands above")
        ready = json.loads(line)
        self.url, self.token_url = ready["url"], ready["token_url"]

    def stats(self) -> dict[str, Any]:
        """Return what the stand-in counted: calls, accounts, tokens."""
        return self._admin("GET", "stats")

    def configure(self, **changes: Any) -> None:
        """Replace fields of the stand-in's configuration."""
        self._admin("PUT", "config", changes)

    def reset(self) -> None:
        """Count anew."""
        self._admin("POST", "reset")

    def _admin(self, method: str, what: str, content: dict[str, Any] | None = None) -> dict[str, Any]:
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"{self.url}/admin/{what}", data=body, method=method)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - http on loopback
            document: dict[str, Any] = json.load(answer)
            return document

    def stop(self) -> None:
        """End the stand-in."""
        if not self._process:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
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
