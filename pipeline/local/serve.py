"""`rescore local`: run the local stack until it is interrupted."""

import datetime as dt
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pipeline.ledger.event_files import read_event_files
from pipeline.local.child_process import data_folder
from pipeline.local.crm.extract import load_crm_extract
from pipeline.local.crm.generator import generate_crm
from pipeline.local.failing.control import served_control
from pipeline.local.failing.failing_services import BigQuerySwitch, FailingServices, GeminiSwitch, Switch
from pipeline.local.failing.failures import Service
from pipeline.local.mirror import add_named_accounts
from pipeline.local.shell_exports import check_exports_file, written_exports
from pipeline.local.stack import LocalStack, crm_is_empty, load_crm, local_stack


@dataclass(frozen=True)
class LocalSettings:
    """What `rescore local` serves.

    Args:
        data_dir: Folder to keep the warehouse in; None: a temporary one.
        accounts: Number of accounts of the generated CRM.
        seed: Of the generated CRM.
        crm: Folder of a CRM extract, which replaces the mirror of an earlier run in the same data folder.
        events: File or folder of events whose accounts are added to the mirror.
        env_file: File to write the exports to.
    """

    data_dir: Path | None
    accounts: int
    seed: int
    crm: Path | None
    events: Path | None
    env_file: Path | None


@dataclass(frozen=True)
class Ready:
    """A stack that runs: its environment variables, and how many accounts were added because events name them."""

    exports: Mapping[str, str]
    accounts_added: int


def serve_local(settings: LocalSettings, *, on_ready: Callable[[Ready], None], say: Callable[[str], None]) -> None:
    """Start the stack, call `on_ready`, and wait for KeyboardInterrupt.

    The mirror of an earlier run in the same folder is kept unless the settings name an extract.

    Args:
        settings: What to serve.
        on_ready: Called when the stack runs.
        say: Called with a line about each failure on purpose that begins or ends.

    Raises:
        ValueError: There are no such events, or the exports' file can't be used.
    """
    events = list(read_event_files(settings.events)) if settings.events else []
    if settings.env_file:
        check_exports_file(settings.env_file)
    with ExitStack() as parts:
        folder = parts.enter_context(data_folder(settings.data_dir))
        stack = parts.enter_context(local_stack(folder))
        as_of = dt.datetime.now(dt.UTC)
        if settings.crm:
            load_crm(stack.warehouse, load_crm_extract(settings.crm))
        elif crm_is_empty(stack.warehouse):
            load_crm(stack.warehouse, generate_crm(accounts=settings.accounts, seed=settings.seed, as_of=as_of))
        added = add_named_accounts(stack.warehouse, events, seed=settings.seed, as_of=as_of) if events else 0
        services = parts.enter_context(FailingServices(_switches(stack), say))
        exports = {**stack.environment, **parts.enter_context(served_control(services))}
        if settings.env_file:
            parts.enter_context(written_exports(settings.env_file, exports))
        on_ready(Ready(exports, added))
        threading.Event().wait()


def _switches(stack: LocalStack) -> dict[Service, Switch]:
    return {Service.GEMINI: GeminiSwitch(stack.gemini), Service.BIGQUERY: BigQuerySwitch(stack.bigquery)}
