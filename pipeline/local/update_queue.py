"""The order in which the local runner evaluates bundles."""

import heapq
from collections.abc import Collection, Iterable
from itertools import count
from typing import Any

from apache_beam.pipeline import AppliedPTransform


class UpdateQueue:
    """What happened to bundles, the deepest step first; replaces the queue that Beam's executor polls.

    Beam schedules every committed bundle at once, so that all bundles pass a step before one passes the next, and the
    first score comes late. This queue gives Beam's monitor one bundle at a time: the one that is furthest along.
    """

    def __init__(self, steps: Iterable[AppliedPTransform], consumed: Collection[Any]) -> None:
        """Take the steps in the order of the graph, and the PCollections that steps read."""
        self._depths = {step: depth for depth, step in enumerate(steps)}
        self._consumed = consumed
        self._heap: list[tuple[int, int, Any]] = []
        self._numbers = count()
        self._has_given_bundle = False

    def offer(self, update: Any) -> None:
        """Take an update: a committed bundle, one that was not processed, or an error."""
        depth = len(self._depths)  # errors and unprocessed bundles go first
        if update.committed_bundle:
            if update.committed_bundle.pcollection not in self._consumed:
                return
            depth = self._depths[_last_part(update.committed_bundle.pcollection.producer)]
        heapq.heappush(self._heap, (-depth, next(self._numbers), update))

    def poll(self) -> Any:
        """Return the next update; None if there is none, or, once, after a committed bundle."""
        if self._has_given_bundle or not self._heap:
            self._has_given_bundle = False
            return None
        update = heapq.heappop(self._heap)[2]
        self._has_given_bundle = update.committed_bundle is not None
        return update


def _last_part(step: AppliedPTransform) -> AppliedPTransform:
    """Return the step that makes the output of a composite, as Beam's watermarks do."""
    while step.parts:
        step = step.parts[-1]
    return step
