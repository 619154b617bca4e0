"""Replays that the API starts: with the command's own code, lease and journal, on a thread of this process."""

import threading
from concurrent.futures import Future
from typing import Final

import structlog
from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError

from pipeline.api.problems import unavailable
from pipeline.dead_letters.dead_letter_filter import ReplayRequest
from pipeline.dead_letters.replay_resources import ReplayResources
from pipeline.dead_letters.replay_session import QUIET_SECONDS, Session, replay
from transforms.errors import RescoringError

START_SECONDS: Final = 60.0
"""For the lease and the first row of the journal."""

STOP_SECONDS: Final = 8.0
"""For the current batch, when the process ends: a replay that it breaks off can be resumed."""

_log = structlog.stdlib.get_logger(__name__)


class BackgroundReplays:
    """Runs replays; the lease lets one run at a time, in whatever process."""

    def __init__(self, resources: ReplayResources, *, quiet_seconds: float = QUIET_SECONDS) -> None:
        self._resources = resources
        self._quiet_seconds = quiet_seconds
        self._interrupted = threading.Event()
        self._running: list[threading.Thread] = []

    def start(self, request: ReplayRequest, who: str) -> str:
        """Begin a replay, and return its id once it has the lease and is in the journal.

        Raises:
            LeaseTaken: Another replay is running.
            PubSubUnavailable: Pub/Sub did not answer.
            WarehouseUnavailable: BigQuery did not answer.
            Problem: It did not begin in time.
        """
        started: Future[str] = Future()
        thread = threading.Thread(target=self._run, args=(request, who, started), name="replay", daemon=True)
        self._running = [it for it in self._running if it.is_alive()] + [thread]
        thread.start()
        try:
            return started.result(START_SECONDS)
        except TimeoutError:
            raise unavailable("the replay did not begin in time: see whether it is in the list of replays") from None

    def stop(self) -> None:
        """End the replays after their current batch."""
        self._interrupted.set()
        for thread in self._running:
            thread.join(STOP_SECONDS)

    def _run(self, request: ReplayRequest, who: str, started: "Future[str]") -> None:
        session = Session(
            self._resources,
            self._quiet_seconds,
            actor=who,
            interrupted=self._interrupted,
            on_started=started.set_result,
        )
        try:
            result = replay(session, request)
            _log.info("a replay ended", replay_id=result.start.replay_id, state=result.ending.entry.value)
        except (RescoringError, RuntimeError, ValueError, GoogleAPIError, GoogleAuthError) as error:
            if started.done():
                _log.error("a replay failed", reason=str(error))
            else:
                started.set_exception(error)
        finally:
            if not started.done():
                started.set_exception(RuntimeError("the replay did not begin"))
