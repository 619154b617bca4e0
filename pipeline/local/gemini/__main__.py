"""Run the stand-in as a process: print one line of JSON when it serves, and end at SIGTERM.

Example: python -m pipeline.local.gemini --port 0 --latency flash-lite --config '{"max_concurrency": 50}'
"""

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from pipeline.local.gemini.config import PRESETS, GeminiConfig
from pipeline.local.gemini.server import GeminiStandIn


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return exit code 0, or 2 for an invalid configuration."""
    options = _parser().parse_args(arguments)
    try:
        config = GeminiConfig.model_validate(_fields(options))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        sys.stderr.write(f"--config: {'.'.join(map(str, first['loc']))}: {first['msg']}\n")
        return 2
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with GeminiStandIn(config, port=options.port) as stand_in:
        sys.stdout.write(json.dumps({"url": stand_in.url, "token_url": stand_in.token_url}) + "\n")
        sys.stdout.flush()
        ended.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline.local.gemini", description="A local stand-in for Gemini")
    parser.add_argument("--port", type=int, default=0, help="port on loopback; 0 (the default) takes a free one")
    parser.add_argument("--latency", choices=list(PRESETS), help="a latency preset")
    parser.add_argument("--seed", type=int, help="seed of latency and faults")
    parser.add_argument("--config", type=_json_object, default={}, help="fields of GeminiConfig as JSON")
    return parser


def _fields(options: argparse.Namespace) -> dict[str, Any]:
    given = {name: getattr(options, name) for name in ("latency", "seed") if getattr(options, name) is not None}
    return {**options.config, **given}


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("expected a JSON object")
    return value


if __name__ == "__main__":
    sys.exit(main())
