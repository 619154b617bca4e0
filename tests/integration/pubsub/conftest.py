"""The brokers of the conformance suite: the embedded one, and Google's emulator where gcloud has it.

Both must behave as Pub/Sub documents. A test in which Google's emulator deviates says so with `google_deviates`, and
fails when the emulator no longer does.
"""

from collections.abc import Callable

import pytest

from tests.integration.pubsub_targets import Target


@pytest.fixture
def google_deviates(request: pytest.FixtureRequest, target: Target) -> Callable[[str], None]:
    """Return a function that expects the test to fail with Google's emulator, for a reason."""

    def expect(reason: str) -> None:
        if target.name == "google":
            request.applymarker(pytest.mark.xfail(reason=f"Google's emulator {reason}", strict=True))

    return expect
