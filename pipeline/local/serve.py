"""`rescore local`: run the local stack until it is interrupted."""

import datetime as dt
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from pipeline.local.crm.extract import load_crm_extract
from pipeline.local.crm.generator import generate_crm
from pipeline.local.stack import crm_is_empty, load_crm, local_stack


def serve_local(
    *,
    data_dir: Path | None,
    accounts: int,
    seed: int,
    crm: Path | None,
    on_ready: Callable[[Mapping[str, str]], None],
) -> None:
    """Start the stack, call `on_ready` with its environment variables, and wait for KeyboardInterrupt.

    The mirror of an earlier run in the same folder is kept unless `crm` names an extract.
    """
    with ExitStack() as parts:
        folder = data_dir or Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="rescore-")))
        stack = parts.enter_context(local_stack(folder))
        if crm:
            load_crm(stack.warehouse, load_crm_extract(crm))
        elif crm_is_empty(stack.warehouse):
            load_crm(stack.warehouse, generate_crm(accounts=accounts, seed=seed, as_of=dt.datetime.now(dt.UTC)))
        on_ready(stack.environment)
        threading.Event().wait()
