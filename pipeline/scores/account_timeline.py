"""`rescore account ID`: what the service knows of an account, by time: events, outcomes, dead letters, scores."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from pipeline.scores.phrases import score_text
from pipeline.scores.queries import account_timeline, current_score
from pipeline.scores.score_sources import ScoreSources, ask
from pipeline.terminal.tables import Column, Listing, Paragraph, fact_table, lines_of, plain
from pipeline.terminal.times import ago, moment
from schemas.clock import Clock, utc_now
from schemas.outcome import OutcomeKind, SkipReason

_ORDER: Final = ("event", "outcome", "dead_letter", "replay", "score", "shadow_score")
"""Of entries of the same time."""


@dataclass(frozen=True)
class AccountTimeline:
    """The entries of an account since a time, the oldest first.

    Attributes:
        account_id: Of 18 characters.
        name: In the mirror; None if it lacks the account, or could not be read.
        mirrored_at: SystemModstamp of the mirror's row; None as above.
        mirror_missing: Why the mirror could not be read.
        read_at: When it was read.
        since: The start of the period.
        current: The row of `current_account_scores`; None if there is none.
        all_entries: How many there are, also beyond the limit.
        entries: The newest of them.
    """

    account_id: str
    name: str | None
    mirrored_at: dt.datetime | None
    mirror_missing: str | None
    read_at: dt.datetime
    since: dt.datetime
    current: Mapping[str, Any] | None
    all_entries: int
    entries: Sequence[Mapping[str, Any]]

    @property
    def waiting(self) -> list[str]:
        """The `dead_letter_id` of the dead letters that no replay has taken, the newest last."""
        replayed = {entry["dead_letter_id"] for entry in self.entries if entry["kind"] == "replay"}
        failed = [entry["dead_letter_id"] for entry in self.entries if entry["kind"] == "dead_letter"]
        return [id_ for id_ in failed if id_ not in replayed]

    @property
    def without_outcome(self) -> list[str]:
        """The `event_id` of the events that were received and have no outcome, the newest last."""
        ended = {
            (entry["event_id"], entry["replay_count"])
            for entry in self.entries
            if entry["kind"] == "outcome" and entry["why"] != SkipReason.DUPLICATE
        }
        received = [entry for entry in self.entries if entry["kind"] == "event"]
        open_ = (it["event_id"] for it in received if (it["event_id"], it["replay_count"]) not in ended)
        return list(dict.fromkeys(open_))

    def document(self) -> dict[str, Any]:
        """Return the timeline as `--json` prints it."""
        return {
            "account_id": self.account_id,
            "name": self.name,
            "mirror_modified_at": self.mirrored_at,
            "mirror_missing": self.mirror_missing,
            "read_at": self.read_at,
            "since": self.since,
            "score": self.current["score"] if self.current else None,
            "scored_at": self.current["scored_at"] if self.current else None,
            "dead_letters_waiting": self.waiting,
            "events_without_outcome": self.without_outcome,
            "all_entries": self.all_entries,
            "entries": [{name: value for name, value in entry.items() if name != "entries"} for entry in self.entries],
        }


def read_account_timeline(
    sources: ScoreSources, account_id: str, since: dt.datetime, limit: int, now: Clock = utc_now
) -> AccountTimeline:
    """Read the newest entries of an account.

    Raises:
        ValueError: Nothing is known of the account.
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    with sources.open_warehouse() as warehouse:
        entries = ask(warehouse, account_timeline(sources.scores, account_id, since, limit))
        current = ask(warehouse, current_score(sources.scores, account_id))
        mirrored = sources.mirrored(warehouse, [account_id])
    if not entries and not current and account_id not in mirrored.rows:
        mirror = "the mirror could not be read" if mirrored.missing_because else "the mirror has no such account"
        raise ValueError(
            f"nothing is known of account {account_id} since {since:%Y-%m-%d %H:%M} UTC, and {mirror}: "
            "is the id right, or --since too late?"
        )
    mirror_row = mirrored.rows.get(account_id)
    return AccountTimeline(
        account_id=account_id,
        name=mirrored.name(account_id),
        mirrored_at=mirror_row["modified_at"] if mirror_row else None,
        mirror_missing=mirrored.missing_because,
        read_at=now(),
        since=since,
        current=current[0] if current else None,
        all_entries=entries[0]["entries"] if entries else 0,
        entries=sorted(
            entries, key=lambda entry: (entry["happened_at"], _ORDER.index(entry["kind"]), entry["event_id"] or "")
        ),
    )


def render(timeline: AccountTimeline) -> Group:
    """Return the report: the account, its entries by time, and what waits for a person."""
    title = Text("  ").join([plain(timeline.name or "account", "bold"), plain(timeline.account_id, "bold")])
    parts: list[RenderableType] = [title, fact_table(("score", _score(timeline)), ("mirror", _mirror(timeline)))]
    count, shown = timeline.all_entries, len(timeline.entries)
    entries = f"{count:,} {'entry' if count == 1 else 'entries'}"
    newest = f"the newest {shown} of {entries}" if count > shown else entries
    parts += [Text(), Paragraph(f"{newest} since {moment(timeline.since)} UTC", "bold")]
    if timeline.entries:
        parts.append(_entries(timeline.entries))
    parts += [Paragraph(hint, "yellow") for hint in _hints(timeline)]
    return Group(*parts)


def _score(timeline: AccountTimeline) -> Text:
    if timeline.current is None:
        return Text("none")
    row = timeline.current
    return Text.assemble(score_text(row["score"], row["tier"]), plain(f", {ago(row['scored_at'], timeline.read_at)}"))


def _mirror(timeline: AccountTimeline) -> str:
    if timeline.mirror_missing:
        return f"could not be read: {timeline.mirror_missing}"
    if timeline.mirrored_at is None:
        return "has no such account"
    return f"modified {moment(timeline.mirrored_at)} UTC, {ago(timeline.mirrored_at, timeline.read_at)}"


def _entries(entries: Sequence[Mapping[str, Any]]) -> Listing:
    columns = (
        Column("time (UTC)", is_whole=True),
        Column("what"),
        Column("id", is_whole=True),
    )
    return Listing(columns, [(moment(entry["happened_at"]), _what(entry), _id(entry)) for entry in entries])


def _what(entry: Mapping[str, Any]) -> Text:
    again = f", replay {entry['replay_count']}" if entry["replay_count"] else ""
    match entry["kind"]:
        case "event":
            return plain(f"received {entry['entity_name'] or 'unknown'} {entry['change_type'] or ''}".rstrip() + again)
        case "outcome":
            return lines_of(_outcome(entry) + again, "green" if entry["what"] == OutcomeKind.SCORED else "")
        case "dead_letter":
            return plain(f"dead letter: {entry['what']} at {entry['stage']}: {entry['why']}{again}", "red")
        case "replay":
            return plain(f"{entry['what']}: {entry['why']}{again}")
    score = score_text(entry["score"], entry["tier"])
    name = "shadow score " if entry["kind"] == "shadow_score" else "score "
    return Text.assemble(name, score, f", {entry['why']}" if entry["why"] else "")


def _outcome(entry: Mapping[str, Any]) -> str:
    into = " into" if entry["what"] == OutcomeKind.COALESCED else ":"
    why = f"{into} {entry['why']}" if entry["why"] else ""
    return f"{entry['what'].replace('_', ' ')}{why}"


def _id(entry: Mapping[str, Any]) -> str:
    of_kind = {"dead_letter": entry["dead_letter_id"], "replay": entry["replay_id"]}
    return of_kind.get(entry["kind"], entry["event_id"]) or "-"


def _hints(timeline: AccountTimeline) -> list[str]:
    hints = []
    if waiting := timeline.waiting:
        several = f"{len(waiting)} dead letters wait" if len(waiting) > 1 else "a dead letter waits"
        hints.append(f"{several}: `rescore dead-letters show {waiting[-1]}`")
    if open_ := timeline.without_outcome:
        several = f"{len(open_)} events have" if len(open_) > 1 else "an event has"
        hints.append(f"{several} no outcome yet: `rescore reconcile` says whether that is an error")
    return hints
