"""`rescore reconcile`: whether every event that was received has one outcome, and what to do where one has not."""

import json

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.ledger.reconciliation import (
    DUPLICATE,
    LedgerEvent,
    Reconciliation,
    Verdict,
    Window,
    check_dataset,
    judge,
    parse_duration,
    parse_since,
    read_ledger,
)
from pipeline.terminal.text import plain
from schemas.clock import Clock, utc_now
from schemas.outcome import OutcomeKind
from transforms.clients.bigquery import Warehouse
from transforms.errors import WarehouseUnavailable

_UNEXPLAINED_STEPS = """\
1. Still on their way? Look whether the pipeline runs, and how old the
   subscription's oldest unacknowledged message is; reconcile again later.
2. Search the logs for the event_id: "row refused" means that the event has its
   outcome, and the ledger lacks the row.
3. Delivered again (skipped:duplicate)? The first delivery may be older than
   --since: reconcile from further back.
4. What is left was lost on its way: rescore these accounts, and keep the logs.
"""
_DOUBLES_STEPS = """\
Both rows are in change_outcomes, with the stage and pipeline_version that wrote
each. The newest change still has the score; that an event ends twice is a fault
of the pipeline, to be reported with its event_id.
"""


def reconcile(
    *, project: str, dataset: str, since: str, grace: str, limit: int, now: Clock = utc_now
) -> Reconciliation:
    """Read the ledger since a time, and judge it as of now.

    Raises:
        ValueError: A time, a duration or the dataset is none.
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    check_dataset(dataset)
    until = now()
    window = Window(since=parse_since(since, until), until=until, grace=parse_duration(grace))
    warehouse = Warehouse(project)
    try:
        return judge(read_ledger(warehouse, dataset, window, limit=limit), window, limit=limit)
    except WarehouseUnavailable as error:
        raise WarehouseUnavailable(f"{error}: is {project}.{dataset} the dataset, and may you read it?") from error
    finally:
        warehouse.close()


def as_json(result: Reconciliation) -> str:
    """Return the one document that `--json` prints."""
    return json.dumps(result.document(), indent=2)


def render(result: Reconciliation) -> Group:
    """Return the report: counts by outcome, what is wrong with its oldest events, and what to do about it."""
    window, verdicts = result.window, result.verdicts
    title = f"{result.events} events from {window.since:%Y-%m-%d %H:%M} to {window.until:%Y-%m-%d %H:%M} UTC"
    parts: list[Text | Table] = [Text(title, style="bold"), _counts(result)]
    if unexplained := verdicts[Verdict.UNEXPLAINED]:
        title = f"{unexplained} events without an outcome, the oldest first"
        parts += [_listing(title, result.oldest_unexplained), Text(_UNEXPLAINED_STEPS)]
    if double := verdicts[Verdict.DOUBLE]:
        title = f"{double} events with more than one outcome, the oldest first"
        parts += [_listing(title, result.doubles), Text(_DOUBLES_STEPS)]
    if result.is_ok:
        parts.append(Text("every event that is due has one outcome", style="green"))
    return Group(*parts)


def _counts(result: Reconciliation) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    for outcome in OutcomeKind:
        table.add_row(outcome.replace("_", " "), str(result.counts[outcome]), _reasons(result, outcome))
    table.add_row("delivered again", str(result.counts.get(DUPLICATE, 0)), "of those above, or their first is older")
    if result.without_received:
        table.add_row("received earlier", str(result.without_received), "of those above; no fault")
    table.add_row("pending", str(result.verdicts[Verdict.PENDING]), f"received less than {result.window.grace} ago")
    table.add_row("without outcome", str(result.verdicts[Verdict.UNEXPLAINED]), "")
    table.add_row("with more than one", str(result.verdicts[Verdict.DOUBLE]), "")
    return table


def _reasons(result: Reconciliation, outcome: OutcomeKind) -> str:
    prefix = f"{outcome}:"
    reasons = (
        (name.removeprefix(prefix), count)
        for name, count in result.counts.items()
        if name.startswith(prefix) and name != DUPLICATE
    )
    return ", ".join(f"{reason} {count}" for reason, count in sorted(reasons, key=lambda item: (-item[1], item[0])))


def _listing(title: str, events: tuple[LedgerEvent, ...]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold red", box=None, padding=(0, 2, 0, 0))
    for name in ("received (UTC)", "event, account", "change, outcomes"):
        table.add_column(name, overflow="fold")
    for event in events:
        received = f"{event.received_at:%Y-%m-%d %H:%M:%S}" if event.received_at else "earlier"
        replay = f" replay {event.replay_count}" if event.replay_count else ""
        change = f"{event.entity_name or 'unknown'} {event.change_type or ''}{replay}"
        table.add_row(received, plain(event.event_id), plain(change))
        table.add_row("", plain(event.account_id or "no account"), plain(", ".join(event.outcomes) or "none"))
    return table
