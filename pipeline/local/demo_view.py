"""Show the result of `rescore demo` on a terminal."""

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from pipeline.local.crm.named_accounts import told_additions
from pipeline.local.demo_result import DemoResult
from pipeline.terminal.tables import Cell, Column, Facts, Listing, Paragraph, counted, fact_table

_TIER_STYLES = {"hot": "bold red", "warm": "yellow", "cool": "cyan", "cold": "blue"}


def render_result(result: DemoResult) -> Group:
    """Return the report: counts, cost, time, and the five highest scores with their reasons."""
    document = result.document()
    parts: list[RenderableType] = [_counts(document)]
    if result.accounts_added:
        parts.append(Paragraph(told_additions(result.accounts_added, "the events"), "dim"))
    if document["highest_scores"]:
        parts += [Text(), Text("the highest scores", style="bold"), _highest(document["highest_scores"]), Text()]
    if document["unexplained"]:
        events = counted(document["unexplained"], "event")
        parts.append(Paragraph(f"{events} without an outcome: see the log above", "bold red"))
    return Group(*parts)


def _counts(document: dict[str, Any]) -> Facts:
    tokens = document["tokens_by_kind"]
    first = document["first_score_seconds"]
    since = "after the events were published"
    if document["first_score_includes_start"]:
        since = "after the first event was published, with the start of the pipeline"
    p50, p95 = document["latency_seconds"]["p50"], document["latency_seconds"]["p95"]
    rare = ("coalesced", "tombstoned", "resync_requested")
    rows = (
        ("events received", document["received"], f"from {counted(document['published'], 'message')}"),
        ("accounts found", sum(document["accounts_found"].values()), _found(document["accounts_found"])),
        ("scored", document["scored"], counted(document["accounts_scored"], "account")),
        ("skipped", document["skipped"], _reasons(document["skipped_by_reason"])),
        *((outcome.replace("_", " "), document[outcome], "") for outcome in rare if document[outcome]),
        ("dead-lettered", document["dead_lettered"], _reasons(document["dead_lettered_by_class"])),
        ("without outcome", document["unexplained"], ""),
        ("Gemini calls", document["gemini_calls"], f"{tokens['prompt']:,} tokens in, {tokens['output']:,} out"),
        ("first score", *(("-", "") if first is None else (f"{first:.2f} s", since))),
        ("event to row", f"{p50 or 0:.2f} s", f"median; 95th percentile {p95 or 0:.2f} s"),
        ("elapsed", f"{document['elapsed_seconds']:.1f} s", ""),
    )
    return fact_table(
        *((name, _count(f"{number:,}" if isinstance(number, int) else number, of)) for name, number, of in rows)
    )


def _count(number: str, of: str) -> Text:
    line = Text(f"{number:>7}")
    return line.append(f"  {of}", style="dim") if of else line


def _reasons(reasons: dict[str, int]) -> str:
    most_first = sorted(reasons.items(), key=lambda item: -item[1])
    return ", ".join(f"{reason}\N{NO-BREAK SPACE}{count:,}" for reason, count in most_first)


def _found(sources: dict[str, int]) -> str:
    """Return where the accounts of related records were found whose events did not name them."""
    known = {source: count for source, count in sources.items() if count}
    return f"of related records that named none: {_reasons(known)}" if known else ""


def _highest(scores: list[dict[str, Any]]) -> Listing:
    columns = (Column("score", is_number=True), Column("account"), Column("why"), Column("next step"))
    return Listing(columns, [_row(score) for score in scores])


def _row(score: dict[str, Any]) -> tuple[Cell, ...]:
    drivers = (
        f"{'+' if driver['impact'] == 'positive' else '-'} {driver['factor']}" for driver in score["drivers"][:3]
    )
    mark = Text(str(score["score"]), style=_TIER_STYLES.get(score["tier"], ""))
    return mark, score["name"] or score["account_id"], "\n".join(drivers), score["recommended_action"]
