"""Run a module as `python -m` does, and end when the process that started this one has gone, however it ended.

Standard input is a pipe into which nobody writes: it ends with the other process, also by SIGKILL.

Example: python -m pipeline.local.watched_child bqemulator start
"""

import os
import runpy
import signal
import sys
import threading
import time
from typing import Final

END_SECONDS: Final = 10.0
"""How long the module may take to end in order."""


def main() -> None:
    """Run the module that the first argument names with the other ones."""
    module = sys.argv[1]
    del sys.argv[1]
    threading.Thread(target=_end_with_starter, daemon=True).start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with_starter() -> None:
    os.read(0, 1)  # returns at the pipe's end
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_SECONDS)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # with its own children
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
