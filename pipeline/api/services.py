"""What the routes work with: one set for each app."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread

from pipeline.api.auth.authenticator import Authenticator
from pipeline.api.background_replays import BackgroundReplays
from pipeline.api.idempotency import IdempotentAnswers
from pipeline.api.metrics import ApiMetrics
from pipeline.api.problems import unavailable
from pipeline.api.rate_limits import RateLimiter, RateLimits
from pipeline.api.read_model.refresher import Freshness
from pipeline.api.read_model.store import ReadModel
from pipeline.dead_letters.replay_resources import ReplayResources
from pipeline.resources.rule_files import RuleFiles
from schemas.clock import Clock, utc_now
from transforms.clients.messages import Message

STALE_AFTER: Final = dt.timedelta(minutes=1)
"""From then on answers say that scores are old: BigQuery does not answer, or a refresh takes so long."""

MAX_CALLS: Final = 8
"""Requests that wait for a service of Google at once; further ones are refused, so that scores can still be read."""

T = TypeVar("T")


@dataclass
class Services:
    """What the routes work with.

    Attributes:
        model: The read model.
        freshness: Returns how its last refresh went.
        authenticator: Says who asks.
        resources: Project, datasets, topics and subscription.
        rate_limiter: Counts requests of principals.
        metrics: Counters.
        rule_files: Which changes matter, and Avro schemas.
        replays: Runs replays.
        publish: Publishes messages to the topic of change events.
        idempotent: Answers by idempotency key.
        now: The clock.
    """

    model: ReadModel
    freshness: Callable[[], Freshness]
    authenticator: Authenticator
    resources: ReplayResources
    publish: Callable[[Sequence[Message]], list[str]]
    replays: BackgroundReplays
    rate_limiter: RateLimiter = field(default_factory=lambda: RateLimiter(RateLimits()))
    metrics: ApiMetrics = field(default_factory=ApiMetrics)
    rule_files: RuleFiles = field(default_factory=RuleFiles)
    idempotent: IdempotentAnswers = field(default_factory=IdempotentAnswers)
    now: Clock = utc_now
    _calls: anyio.CapacityLimiter | None = None

    def fresh(self) -> dict[str, Any]:
        """Return what each answer of the read model says of its age.

        Raises:
            Problem: It was not filled yet.
        """
        freshness = self.freshness()
        if freshness.as_of is None:
            raise unavailable("the scores are being read from BigQuery: see /readyz")
        return {
            "as_of": freshness.as_of,
            "is_stale": self.now() - freshness.as_of > STALE_AFTER,
            "stale_because": freshness.error,
            "names_missing": freshness.names_missing,
        }

    async def call(self, function: Callable[[], T]) -> T:
        """Run what waits for a service of Google on a thread, a few at once.

        Raises:
            Problem: Too many wait already.
        """
        if self._calls is None:
            self._calls = anyio.CapacityLimiter(MAX_CALLS)
        if self._calls.borrowed_tokens >= MAX_CALLS:
            raise unavailable("too many requests wait for BigQuery or Pub/Sub: try again", 2)
        return await anyio.to_thread.run_sync(function, limiter=self._calls)
