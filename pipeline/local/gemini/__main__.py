"""Run the stand-in as a process: print one line of JSON when it serves, and end at SIGTERM.

Example: python -m pipeline.local.gemini --config '{"latency": "flash-lite", "max_concurrency": 50}'
"""

import argparse
import json
import signal
import socket
import sys
import threading
from collections.abc import Sequence

from pydantic import ValidationError

from pipeline.local.gemini.config import GeminiConfig
from pipeline.local.gemini.server import GeminiStandIn


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return exit code 0, or 2 for an invalid configuration."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.local.gemini", description="A local stand-in for Gemini")
    parser.add_argument("--config", default="{}", help="fields of GeminiConfig as JSON")
    parser.add_argument("--listener", type=int, help="inherited descriptor of a listening socket; default: a new one")
    parsed = parser.parse_args(arguments)
    try:
        config = GeminiConfig.model_validate_json(parsed.config)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        sys.stderr.write(f"--config: {'.'.join(map(str, first['loc']))}: {first['msg']}\n")
        return 2
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    listener = None if parsed.listener is None else socket.socket(fileno=parsed.listener)
    with GeminiStandIn(config, listener=listener) as stand_in:
        sys.stdout.write(json.dumps({"url": stand_in.url, "token_url": stand_in.token_url}) + "\n")
        sys.stdout.flush()
        ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
