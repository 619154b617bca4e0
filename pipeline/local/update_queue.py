"""The order in which the local runner evaluates bundles."""

import heapq
from collections import deque
from collections.abc import Collection, Iterable
from itertools import count, islice
from typing import Any

from apache_beam.pipeline import AppliedPTransform


class UpdateQueue:
    """What happened to bundles; replaces the queue that Beam's executor polls.

    Beam schedules every committed bundle at once, so that all bundles pass a step before one passes the next, and the
    first score comes late. Here a batch, with which a step calls a service, is scheduled alone: the one that is
    furthest along in the graph, when nothing else is left to do. So batches are filled before one is worked on.
    """

    def __init__(self, steps: Iterable[AppliedPTransform], consumed: Collection[Any]) -> None:
        """Take the steps in the order of the graph, and the PCollections that steps read."""
        self._depths = {step: depth for depth, step in enumerate(steps)}
        self._consumed = consumed
        self._batches: list[tuple[int, int, Any]] = []
        self._others: deque[Any] = deque()
        self._numbers = count()
        self._has_given_bundle = False

    def offer(self, update: Any) -> None:
        """Take an update: a committed bundle, one that was not processed, or an error."""
        bundle = update.committed_bundle
        if bundle and bundle.pcollection not in self._consumed:
            return
        if bundle and is_batch(bundle):
            depth = self._depths[_last_part(bundle.pcollection.producer)]
            heapq.heappush(self._batches, (-depth, next(self._numbers), update))
        else:
            self._others.append(update)

    def poll(self) -> Any:
        """Return the next update; None when Beam shall evaluate what it was given before it asks again."""
        if self._others:
            update = self._others.popleft()
            self._has_given_bundle |= update.committed_bundle is not None
            return update
        if self._has_given_bundle or not self._batches:
            self._has_given_bundle = False
            return None
        self._has_given_bundle = True
        return heapq.heappop(self._batches)[2]


def is_batch(bundle: Any) -> bool:
    """Return whether the elements of a bundle are lists."""
    return any(isinstance(element.value, list) for element in islice(bundle.get_elements_iterable(), 1))


def _last_part(step: AppliedPTransform) -> AppliedPTransform:
    """Return the step that makes the output of a composite, as Beam's watermarks do."""
    while step.parts:
        step = step.parts[-1]
    return step
