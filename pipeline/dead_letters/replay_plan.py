"""What a replay would do, before it does anything."""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.dead_letters.letter_filter import LetterFilter
from pipeline.dead_letters.letter_rows import LetterGroup, LetterRows
from pipeline.ledger.explanation import Decision, explain_message
from transforms.filter.materiality import Materiality
from transforms.parse.avro_schemas import AvroSchemas

SCORES_LOOKED_AT: Final = dt.timedelta(days=30)
UNREAD: Final = "not looked at"
"""Of letters whose payload is on the topic alone."""


@dataclass(frozen=True)
class ReplayPlan:
    """What a replay would do, as far as the table of dead letters tells.

    `decisions` says what `rescore explain` makes of the letters' payloads now, in letters: counted in a sample and
    drawn up to all. `tokens` is what their scores may cost: the average of recent scores for each change that is worth
    one; None where there are no scores to go by.
    """

    letter_filter: LetterFilter
    groups: tuple[LetterGroup, ...]
    to_replay: int
    to_park: int
    max_letters: int | None
    sampled: int
    decisions: dict[str, int]
    tokens: int | None
    tokens_a_score: float | None

    def document(self) -> dict[str, Any]:
        """Return the plan as `--json` prints it."""
        return {
            "filter": self.letter_filter.document(),
            "letters": self.to_replay + self.to_park,
            "to_replay": self.to_replay,
            "to_park": self.to_park,
            "limit": self.max_letters,
            "groups": [
                {
                    "error_class": group.error_class,
                    "stage": group.stage,
                    "letters": group.letters - group.replayed,
                    "to_park": group.to_park,
                    "retryable": group.retryable,
                }
                for group in self.groups
            ],
            "decisions": self.decisions,
            "sampled": self.sampled,
            "tokens": self.tokens,
            "tokens_a_score": self.tokens_a_score,
        }


def decisions_of(payloads: Iterable[bytes | None], materiality: Materiality, schemas: AvroSchemas) -> Counter[str]:
    """Return what becomes of letters by themselves: a letter is told by the best that one of its records comes to."""
    order = [Decision.RESCORE, Decision.TOMBSTONE, Decision.RESYNC, Decision.SKIP, Decision.DEAD_LETTER]
    counts: Counter[str] = Counter()
    for payload in payloads:
        if payload is None:
            counts[UNREAD] += 1
            continue
        decided = {explanation.decision for explanation in explain_message(payload, materiality, schemas)}
        counts[next((decision for decision in order if decision in decided), Decision.SKIP)] += 1
    return counts


def drawn_up(counts: Counter[str], letters: int) -> dict[str, int]:
    """Return counts of a sample as counts of so many letters, the most first."""
    sampled = counts.total()
    return {name: round(count * letters / sampled) for name, count in counts.most_common()} if sampled else {}


def plan_replay(
    rows: LetterRows,
    letter_filter: LetterFilter,
    *,
    max_letters: int | None,
    is_forced: bool,
    materiality: Materiality,
    schemas: AvroSchemas,
    now: dt.datetime,
) -> ReplayPlan:
    """Return what a replay of the letters that match would do.

    Raises:
        WarehouseUnavailable: BigQuery did not answer.
    """
    groups = tuple(group for group in rows.groups(letter_filter) if group.letters > group.replayed)
    left = sum(group.letters - group.replayed for group in groups)
    to_park = 0 if is_forced else sum(group.to_park for group in groups)
    to_replay = left - to_park
    if max_letters is not None and left:
        # Which of them come first, Pub/Sub decides: both kinds are cut alike.
        share = min(1.0, max_letters / left)
        to_replay, to_park = round(to_replay * share), round(to_park * share)
    sample: Sequence[bytes | None] = rows.sample(letter_filter, is_forced=is_forced) if to_replay else ()
    decisions = drawn_up(decisions_of(sample, materiality, schemas), to_replay)
    tokens_a_score = rows.tokens_a_score(now - SCORES_LOOKED_AT)
    scored = decisions.get(Decision.RESCORE, 0) + decisions.get(UNREAD, 0)
    tokens = None if tokens_a_score is None else round(scored * tokens_a_score)
    return ReplayPlan(
        letter_filter=letter_filter,
        groups=groups,
        to_replay=to_replay,
        to_park=to_park,
        max_letters=max_letters,
        sampled=len(sample),
        decisions=decisions,
        tokens=tokens,
        tokens_a_score=tokens_a_score,
    )
