"""The command `rescore`, also `python -m pipeline`: handles signals first, since imports take up to seconds."""

import os
import sys

from pipeline.terminal.signals import handle_signals


def main() -> None:
    """Run the command line, and exit with its code."""
    handle_signals()
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - closed by the caller
    from pipeline.cli import app  # noqa: PLC0415 - after the signals are handled

    sys.exit(app(prog_name="rescore"))


if __name__ == "__main__":
    main()
