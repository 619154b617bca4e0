"""What an operator asks a replay for."""

from dataclasses import dataclass

from pipeline.dead_letters.letter_filter import LetterFilter


@dataclass(frozen=True)
class ReplayRequest:
    """Which letters, how many of them, how fast, and why."""

    letter_filter: LetterFilter
    max_letters: int | None
    rate: float
    is_forced: bool
    reason: str
