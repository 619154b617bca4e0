"""Counts of the stand-in since its start or last reset."""

import time
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field

from pipeline.local.gemini.fault_kinds import FaultKind


@dataclass
class GeminiStats:
    """The counts; only changed on the server's event loop. Calls are those of generateContent."""

    calls: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    """By HTTP status; "none": the answer was not sent completely."""
    by_fault: Counter[str] = field(default_factory=Counter)
    accounts: int = 0
    """Of the calls that were answered with 200."""
    prompt_tokens: int = 0
    """Of the calls that were answered with 200, like the other tokens."""
    output_tokens: int = 0
    cached_tokens: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    latency_seconds_sum: float = 0.0
    """Of the latency model, over the calls answered with 200."""
    span_seconds: float = 0.0
    """From the first call's arrival to the end of the last that has ended."""
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

    def leave(self, status: int | None, fault: FaultKind | None) -> None:
        """Count the end of a call; a status of None: the answer was not sent completely."""
        self.in_flight -= 1
        self.by_status["none" if status is None else str(status)] += 1
        if fault is not None:
            self.by_fault[fault.value] += 1
        if self._first_arrival is not None:
            self.span_seconds = time.perf_counter() - self._first_arrival

    def restarted(self) -> "GeminiStats":
        """Return new counts that keep only the calls in flight."""
        return GeminiStats(in_flight=self.in_flight, peak_in_flight=self.in_flight)

    def snapshot(self) -> "GeminiStats":
        """Return a copy that does not change."""
        return deepcopy(self)
