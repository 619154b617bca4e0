"""BigQuery on this machine: bqemulator as a child process, with its data in a folder that outlives it."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Final, Self

import duckdb_extensions

START_TIMEOUT_SECONDS: Final = 60.0
STOP_TIMEOUT_SECONDS: Final = 10.0


class BigQueryEmulator:
    """bqemulator on a free port, which it keeps when it is started again; a context manager."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._ports: list[int] = []
        self.url = ""

    def start(self) -> None:
        """Start the emulator and wait until it answers.

        Raises:
            RuntimeError: It ended, or did not answer in time; the message names its log.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        # bqemulator needs DuckDB's spatial extension, which DuckDB would download; the wheel brings it along.
        duckdb_extensions.import_extension("spatial")
        self._ports = self._ports or _free_ports(2)
        rest_port, grpc_port = self._ports
        log_path = self.data_dir / "bqemulator.log"
        self._log = log_path.open("ab")
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, and arguments of ours
            [
                *(sys.executable, "-m", "bqemulator", "start", "--log-level", "error"),
                *("--rest-port", str(rest_port), "--grpc-port", str(grpc_port)),
                *("--persistent", "--data-dir", str(self.data_dir / "bigquery")),
            ],
            stdout=self._log,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C ends the command first, and then this, in that order
        )
        self.url = f"http://127.0.0.1:{rest_port}"
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not _answers(f"{self.url}/healthz"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the BigQuery emulator did not start: see {log_path}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the emulator; what it holds stays in the data folder."""
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._log:
            self._log.close()
            self._log = None

    def kill(self) -> None:
        """End the emulator as a crash would."""
        if self._process:
            self._process.kill()
        self.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()


def _free_ports(count: int) -> list[int]:
    """Return ports that are free now, all different: held open together, then given back."""
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
