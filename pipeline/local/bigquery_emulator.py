"""BigQuery on this machine: bqemulator as a child process that keeps its data in a folder."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Final, Self

import duckdb_extensions

from pipeline.local.child_process import start_module, stop_process

START_TIMEOUT_SECONDS: Final = 60.0


class BigQueryEmulator:
    """bqemulator on a free port; a restart uses the same port. A context manager."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._ports: list[int] = []
        self.url = ""

    def start(self) -> None:
        """Start the emulator and wait until it answers.

        Raises:
            RuntimeError: It ended, or did not answer within a minute; the message names its log.
        """
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start the emulator without waiting; its address is known from now on."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        # bqemulator needs DuckDB's spatial extension: taken from its wheel, or DuckDB would download it.
        duckdb_extensions.import_extension("spatial")
        self._ports = self._ports or _free_ports(2)
        rest_port, grpc_port = self._ports
        self._log = self._log_path.open("ab")
        self._process = start_module(
            *("bqemulator", "start", "--log-level", "error"),
            *("--rest-port", str(rest_port), "--grpc-port", str(grpc_port)),
            *("--persistent", "--data-dir", str(self.data_dir / "bigquery")),
            stdout=self._log,
            stderr=self._log,
            # Otherwise it asks a host of DuckDB's for an Avro extension, which nothing here needs.
            env={**os.environ, "BQEMU_ENABLE_FORMAT_EXTENSIONS": "false"},
        )
        self.url = f"http://127.0.0.1:{rest_port}"

    def wait_until_ready(self) -> None:
        """Wait until the launched emulator answers.

        Raises:
            RuntimeError: It ended, or did not answer within a minute; the message names its log.
        """
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not _answers(f"{self.url}/healthz"):
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the BigQuery emulator did not start: see {self._log_path}")
            time.sleep(0.05)

    @property
    def _log_path(self) -> Path:
        return self.data_dir / "bqemulator.log"

    def stop(self) -> None:
        """Stop the emulator; its data stays in the data folder."""
        if self._process:
            stop_process(self._process)
            self._process = None
        if self._log:
            self._log.close()
            self._log = None

    def kill(self) -> None:
        """Kill the emulator, as a crash would."""
        if self._process:
            self._process.kill()
        self.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()


def _free_ports(count: int) -> list[int]:
    """Return different ports that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - http on loopback
            return True
    except urllib.error.HTTPError:
        return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
