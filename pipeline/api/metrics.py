"""Metrics of the API, in Prometheus' form; of this process, without any name of a person or an account."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class ApiMetrics:
    """Counters of one app."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "rescore_api_requests_total", "Requests", ("route", "method", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "rescore_api_request_seconds", "Until the answer", ("route",), buckets=_BUCKETS, registry=self._registry
        )
        self._refreshes = Counter(
            "rescore_api_refreshes_total", "Refreshes of the read model", ("result",), registry=self._registry
        )
        self._refresh_seconds = Histogram(
            "rescore_api_refresh_seconds", "Of a refresh of the read model", buckets=_BUCKETS, registry=self._registry
        )
        self.age = Gauge(
            "rescore_api_read_model_age_seconds", "Since the time that scores are of", registry=self._registry
        )
        self.events = Counter(
            "rescore_api_change_events_total", "Change events that came in", ("result",), registry=self._registry
        )

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request; the route is a pattern, not a path."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_refresh(self, seconds: float, is_ok: bool) -> None:  # noqa: FBT001 - the refresher calls it by position
        """Count a refresh of the read model."""
        self._refreshes.labels("ok" if is_ok else "failed").inc()
        self._refresh_seconds.observe(seconds)

    def text(self) -> bytes:
        """Return all of them."""
        return generate_latest(self._registry)
