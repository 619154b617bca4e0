"""Counts of the stand-in since its start or last reset."""

import time
from collections import Counter
from dataclasses import dataclass, field

from pydantic import Field

from pipeline.local.gemini.fault_kinds import FaultKind
from schemas.record import ValidatedModel


class GeminiStats(ValidatedModel):
    """A snapshot of the counts. Calls are those of generateContent unless the name says otherwise."""

    calls: int
    by_status: dict[str, int] = Field(description='By HTTP status; "none": the answer was not sent completely')
    by_fault: dict[str, int]
    accounts_asked: int = Field(description="In the prompts of valid calls")
    accounts_scored: int = Field(description="Sent in complete answers and not affected by a fault")
    prompt_tokens: int = Field(description="Of the calls that were answered with 200, like the other tokens")
    output_tokens: int
    cached_tokens: int
    in_flight: int
    peak_in_flight: int
    latency_seconds_sum: float = Field(description="Of the latency model, over the calls answered with 200")
    busy_seconds_sum: float = Field(description="Measured from a call's arrival to its end")
    span_seconds: float = Field(description="From the first call's arrival to the end of the last that has ended")
    count_tokens_calls: int
    tokens_granted: int


@dataclass
class Counts:
    """The mutable counts; only changed on the server's event loop."""

    calls: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    by_fault: Counter[str] = field(default_factory=Counter)
    accounts_asked: int = 0
    accounts_scored: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    latency_seconds_sum: float = 0.0
    busy_seconds_sum: float = 0.0
    span_seconds: float = 0.0
    count_tokens_calls: int = 0
    tokens_granted: int = 0
    _first_arrival: float | None = None

    def arrive(self) -> int:
        """Count an arriving call, and return its number, from 1."""
        self.calls += 1
        if self._first_arrival is None:
            self._first_arrival = time.perf_counter()
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        return self.calls

    def restarted(self) -> "Counts":
        """Return new counts that keep only the calls in flight."""
        return Counts(in_flight=self.in_flight, peak_in_flight=self.in_flight)

    def leave(self, status: int | None, fault: FaultKind | None, busy_seconds: float) -> None:
        """Count the end of a call; a status of None: the answer was not sent completely."""
        self.in_flight -= 1
        self.by_status["none" if status is None else str(status)] += 1
        if fault is not None:
            self.by_fault[fault.value] += 1
        self.busy_seconds_sum += busy_seconds
        if self._first_arrival is not None:
            self.span_seconds = time.perf_counter() - self._first_arrival

    def snapshot(self) -> GeminiStats:
        """Return a copy."""
        return GeminiStats(**{name: value for name, value in vars(self).items() if not name.startswith("_")})
