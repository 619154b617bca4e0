"""`rescore reconcile`: check that every received event has exactly one outcome."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.ledger.reconciliation import (
    DUPLICATE,
    EventState,
    LedgerEvent,
    Reconciliation,
    Window,
    judge,
    read_ledger,
)
from pipeline.resources.datasets import open_warehouse
from pipeline.terminal.tables import PADDING, plain
from pipeline.terminal.times import parse_duration, parse_since
from schemas.clock import Clock, utc_now
from schemas.outcome import OutcomeKind

_UNEXPLAINED_STEPS = """\
1. Still in the pipeline? Check that the job runs, and the age of the
   subscription's oldest unacknowledged message; reconcile again later.
2. Search the logs for the event_id: "row refused" means that the event has an
   outcome and BigQuery refused the ledger's row.
3. Delivered again (skipped:duplicate)? The first delivery may be older than
   --since: reconcile from an earlier time.
4. All others were lost: rescore these accounts, and keep the logs.
"""
_DOUBLES_STEPS = """\
Both rows are in change_outcomes, with the stage and pipeline_version that wrote
each. The newest change still has the score. Two outcomes of one event are a
defect of the pipeline: report it with the event_id.
"""


def reconcile(
    *, project: str, dataset: str, since: str, grace: str, limit: int, now: Clock = utc_now
) -> Reconciliation:
    """Read the ledger since a time, and judge it as of now.

    Raises:
        ValueError: A time, a duration or the dataset can't be used.
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    until = now()
    window = Window(since=parse_since(since, until), until=until, grace=parse_duration(grace))
    with open_warehouse(project, dataset) as warehouse:
        return judge(read_ledger(warehouse, dataset, window, limit=limit), window, limit=limit)


def render(result: Reconciliation) -> Group:
    """Return the report: counts by outcome, the oldest events that are wrong, and what to do."""
    window, states = result.window, result.states
    title = f"{result.events} events from {window.since:%Y-%m-%d %H:%M} to {window.until:%Y-%m-%d %H:%M} UTC"
    parts: list[Text | Table] = [Text(title, style="bold"), _counts(result)]
    if unexplained := states[EventState.UNEXPLAINED]:
        title = f"{unexplained} events without an outcome, the oldest first"
        parts += [_listing(title, result.oldest_unexplained), Text(_UNEXPLAINED_STEPS)]
    if double := states[EventState.DOUBLE]:
        title = f"{double} events with more than one outcome, the oldest first"
        parts += [_listing(title, result.doubles), Text(_DOUBLES_STEPS)]
    if result.is_ok:
        parts.append(Text("every event that is due has one outcome", style="green"))
    return Group(*parts)


def _counts(result: Reconciliation) -> Table:
    table = Table(show_header=False, box=None, padding=PADDING)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    for outcome in OutcomeKind:
        table.add_row(outcome.replace("_", " "), str(result.counts[outcome]), _reasons(result, outcome))
    table.add_row("delivered again", str(result.counts.get(DUPLICATE, 0)), "included above, or first received earlier")
    if result.without_received:
        table.add_row("received earlier", str(result.without_received), "included above; not an error")
    table.add_row("pending", str(result.states[EventState.PENDING]), f"received less than {result.window.grace} ago")
    table.add_row("without outcome", str(result.states[EventState.UNEXPLAINED]), "")
    table.add_row("with more than one", str(result.states[EventState.DOUBLE]), "")
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
    table = Table(title=title, title_justify="left", title_style="bold red", box=None, padding=PADDING)
    for name in ("received (UTC)", "event, account", "change, outcomes"):
        table.add_column(name, overflow="fold")
    for event in events:
        received = f"{event.received_at:%Y-%m-%d %H:%M:%S}" if event.received_at else "earlier"
        replay = f" replay {event.replay_count}" if event.replay_count else ""
        change = f"{event.entity_name or 'unknown'} {event.change_type or ''}{replay}"
        table.add_row(received, plain(event.event_id), plain(change))
        table.add_row("", plain(event.account_id or "no account"), plain(", ".join(event.outcomes) or "none"))
    return table
