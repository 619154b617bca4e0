"""Serve the API until a signal comes: the checks at the start, the read model, the server."""

import logging
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn

from pipeline.api.application import create_app
from pipeline.api.auth.allow_list import AllowList
from pipeline.api.auth.authenticator import Authenticator, KeptAllowList, is_loopback
from pipeline.api.auth.google_tokens import GOOGLE_CERTS, IAP_CERTS, GoogleTokens, iap_rules, oidc_rules
from pipeline.api.auth.principals import Principal, Role
from pipeline.api.auth.webhook_signatures import WebhookSignatures
from pipeline.api.background_replays import BackgroundReplays
from pipeline.api.metrics import ApiMetrics
from pipeline.api.rate_limits import RateLimiter, RateLimits
from pipeline.api.read_model.refresher import Refresher
from pipeline.api.read_model.source import ScoreSource
from pipeline.api.read_model.store import ReadModel
from pipeline.api.services import Services
from pipeline.api.topic_publisher import TopicPublisher
from pipeline.dead_letters.replay_resources import ReplayResources
from pipeline.resources.rule_files import RuleFiles
from pipeline.resources.services import check_dataset_answers
from pipeline.resources.subscriptions import check_topic
from pipeline.terminal.signals import finish_first
from transforms.clients.bigquery import Warehouse

GRACE_SECONDS: Final = 5
"""For requests that are being answered when the signal comes."""

KEEP_ALIVE_SECONDS: Final = 620
"""Longer than Google's load balancers keep an idle connection, so that they never use one that is being closed."""

_WATCH_SECONDS: Final = 1.0
_LOCAL_STACK: Final = ("BIGQUERY_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST")


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        allow_list: File of principals and webhooks; None: nobody is known.
        audience: Of bearer tokens; None: they are refused.
        iap_audience: Of IAP's header; None: the header is ignored.
        oidc_certs_url: Certificates of bearer tokens.
        iap_certs_url: Certificates of IAP's header.
        is_anonymous: Whether anybody on this machine may ask without credentials.
    """

    allow_list: Path | None = None
    audience: str | None = None
    iap_audience: str | None = None
    oidc_certs_url: str = GOOGLE_CERTS
    iap_certs_url: str = IAP_CERTS
    is_anonymous: bool = False

    def check(self, host: str) -> None:
        """Check that somebody may ask, and that nobody is let in by mistake.

        Raises:
            ValueError: It is not so; the message names the option.
        """
        if self.is_anonymous and not is_loopback(host):
            raise ValueError(
                f"--allow-anonymous is for this machine only, and --host is {host[:60]!r}: leave --host out, or give "
                "--allow-list FILE and --audience URL"
            )
        if self.is_anonymous and self.allow_list:
            raise ValueError("--allow-anonymous and --allow-list exclude each other: leave one out")
        if not self.is_anonymous and not self.allow_list:
            raise ValueError(
                "nobody could use it: give --allow-list FILE and --audience URL, or on this machine --allow-anonymous"
            )

    def authenticator(self) -> tuple[Authenticator, Callable[[], None]]:
        """Return what says who asks, and what reads its file again.

        Raises:
            ValueError: The allow-list can't be used.
        """
        if not self.allow_list:
            return Authenticator(anonymous=anonymous(os.environ)), lambda: None
        kept = KeptAllowList(self.allow_list)
        if not (self.audience or self.iap_audience or kept.current.webhooks):
            raise ValueError(
                "--audience is missing: the URL of this service, which tokens are made for; or --iap-audience"
            )
        authenticator = Authenticator(
            allow_list=lambda: _current(kept),
            oidc=GoogleTokens(oidc_rules(self.audience, self.oidc_certs_url)) if self.audience else None,
            iap=GoogleTokens(iap_rules(self.iap_audience, self.iap_certs_url)) if self.iap_audience else None,
            webhooks=WebhookSignatures(),
        )
        return authenticator, kept.read_again


def _current(kept: KeptAllowList) -> AllowList:
    return kept.current


def anonymous(environment: "os._Environ[str] | dict[str, str]") -> Principal:
    """Return who asks without credentials: on a local stack they may do everything, elsewhere only read scores."""
    is_local = all(environment.get(name) for name in _LOCAL_STACK)
    return Principal("anonymous", frozenset(Role) if is_local else frozenset({Role.READER}))


@dataclass(frozen=True)
class ServeSettings:
    """What `rescore serve` serves, and how.

    Attributes:
        resources: Project, datasets, topics and subscription.
        access: Who may ask.
        host: Address to listen on.
        port: Port to listen on; 0: a free one.
        refresh_seconds: Between two refreshes of the read model.
        limits: Requests a minute of each principal.
        rule_files: Which changes matter, and Avro schemas.
        is_checked: Whether BigQuery and Pub/Sub must answer at the start.
    """

    resources: ReplayResources
    access: Access
    host: str
    port: int
    refresh_seconds: float
    limits: RateLimits
    rule_files: RuleFiles
    is_checked: bool = True


def serve(settings: ServeSettings, say: Callable[[str], None]) -> None:
    """Serve until a signal comes; `say` is called with a line when the server listens.

    Raises:
        ValueError: An option, a file or the port can't be used.
        WarehouseUnavailable: BigQuery does not answer, or has no such dataset.
        PubSubUnavailable: Pub/Sub does not answer, or has no such topic.
    """
    settings.access.check(settings.host)
    _ = settings.rule_files.rules, settings.rule_files.avro_schemas  # refused now, if they can't be used
    authenticator, read_again = settings.access.authenticator()
    resources = settings.resources
    with _listener(settings.host, settings.port) as listener:
        if settings.is_checked:
            check_dataset_answers(resources.project, resources.dataset)
            check_topic(resources.topic_path)
        with _services(settings, authenticator) as services, finish_first() as interrupted:
            server = _Server(services, listener)
            server.start()
            host, port = listener.getsockname()[:2]
            say(f"serving {resources.project} at http://{f'[{host}]' if ':' in host else host}:{port}; Ctrl-C ends it")
            while not interrupted.wait(_WATCH_SECONDS):
                server.check()
                read_again()
            server.stop()


@contextmanager
def _services(settings: ServeSettings, authenticator: Authenticator) -> Iterator[Services]:
    """Yield what the routes work with; the read model is filled in the background."""
    resources, metrics = settings.resources, ApiMetrics()
    with tempfile.TemporaryDirectory(prefix="rescore-serve-") as folder:
        publisher, replays = TopicPublisher(resources.topic_path), BackgroundReplays(resources)
        warehouse, model = Warehouse(resources.project), ReadModel(Path(folder))
        source = ScoreSource.of(warehouse, resources.dataset, resources.crm_dataset)
        refresher = Refresher(model, source, seconds=settings.refresh_seconds, on_refresh=metrics.count_refresh)
        refresher.start()
        try:
            yield Services(
                model=model,
                publish=publisher.publish,
                rule_files=settings.rule_files,
                replays=replays,
                freshness=lambda: refresher.freshness,
                authenticator=authenticator,
                resources=resources,
                rate_limiter=RateLimiter(settings.limits),
                metrics=metrics,
            )
        finally:
            refresher.stop()
            replays.stop()
            publisher.close()
            model.close()
            warehouse.close()


@contextmanager
def _listener(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=1_024)
    except (OSError, OverflowError) as error:
        # The socket's own text repeats the address.
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__
        raise ValueError(f"can't listen on {host}:{port}: {reason}: name another --port or --host") from None
    with listener:
        yield listener


class _Server:
    """uvicorn on a thread of its own: the main thread handles signals as every command does."""

    def __init__(self, services: Services, listener: socket.socket) -> None:
        logging.getLogger("uvicorn").setLevel(logging.ERROR)  # each malformed request would be a warning
        self._server = uvicorn.Server(
            uvicorn.Config(
                create_app(services),
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="server", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def check(self) -> None:
        """Check that it serves.

        Raises:
            RuntimeError: It ended by itself.
        """
        if not self._thread.is_alive():
            raise RuntimeError("the server ended by itself: the log above says why")

    def stop(self) -> None:
        """Answer what was asked, and end."""
        self._server.should_exit = True
        self._thread.join(GRACE_SECONDS + 2.0)
