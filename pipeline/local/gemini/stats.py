"""What the stand-in has counted since its start or its last reset."""

import time
from collections import Counter
from dataclasses import dataclass, field

from pydantic import Field

from pipeline.local.gemini.fault_kinds import FaultKind
from schemas.record import ValidatedModel


class GeminiStats(ValidatedModel):
    """A copy of the counts. Calls are those of generateContent, unless another endpoint is named."""

    calls: int
    by_status: dict[str, int] = Field(description='By HTTP status; "none" where no whole answer was sent')
    by_fault: dict[str, int]
    accounts_asked: int = Field(description="In the prompts of the calls that were understood")
    accounts_scored: int = Field(description="Sent in whole answers, and spoilt by no fault")
    prompt_tokens: int = Field(description="Of the calls that were answered with 200, as are the other tokens")
    output_tokens: int
    cached_tokens: int
    in_flight: int
    peak_in_flight: int
    latency_seconds_sum: float = Field(description="By the latency model, over the calls that were answered with 200")
    busy_seconds_sum: float = Field(description="Measured from a call's arrival to its end")
    span_seconds: float = Field(description="From the first call's arrival to the end of the last that has ended")
    count_tokens_calls: int
    tokens_granted: int


@dataclass
class Counts:
    """The counts themselves; changed on the server's event loop only."""

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
        """Count a call that has arrived, and return its number, from 1."""
        self.calls += 1
        if self._first_arrival is None:
            self._first_arrival = time.perf_counter()
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        return self.calls

    def forget(self) -> "Counts":
        """Return new counts, which know of nothing but the calls in flight."""
        return Counts(in_flight=self.in_flight, peak_in_flight=self.in_flight)

    def leave(self, status: int | None, fault: FaultKind | None, busy_seconds: float) -> None:
        """Count the end of a call: its status, or None where no whole answer was sent."""
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
