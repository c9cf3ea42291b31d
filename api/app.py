"""Builds the API: settings in, a Flask app with everything wired out."""

from __future__ import annotations

import time
from importlib.metadata import version
from threading import BoundedSemaphore

import structlog
from apiflask import APIFlask
from flask import Response, g, request

from api import (
    actions,
    batch_actions,
    batch_results,
    batches,
    deliveries,
    delivery,
    endpoints,
    events,
    files,
    health,
    idempotency,
    keys,
    media,
    project,
    reference,
    signatures,
    task_events,
    tasks,
    uploads,
    webhook_actions,
    webhook_secrets,
)
from api.admission import MAX_BODY_BYTES
from api.bodies import StrictJson
from api.documents import SECURITY, complete_document
from api.metrics import build_metrics
from api.problems import register_problems
from api.queue import WakeQueue
from api.request_limit import RequestLimit, Standing
from api.services import Services, get_services
from ingest.config import Settings
from ingest.environ import load_settings
from ingest.ids import Prefix, make_id
from ingest.logs import configure_logging, get_logger
from ingest.url_signatures import UrlSigner
from storage.objects import s3
from storage.objects.s3_client import make_models
from storage.planning import Planner
from storage.records.database import Database
from storage.sealing import Sealer
from storage.signals import Signals

# Threads of a process that never wait for an ingest, so that questions are always answered.
_FREE_THREADS = 2
# Somebody waits, with what was sent in memory: more tries, and shorter ones than a worker's.
_STAGING = s3.Patience(connect_timeout_s=5, read_timeout_s=30, attempts=3)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# For whoever opens an answer in a browser (OWASP REST Security Cheat Sheet): nothing in it runs, no
# page frames it, no cache keeps it, and where it leads does not learn its address.
_GUARDS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})


def create_app(settings: Settings | None = None) -> APIFlask:
    """Return the API, wired; it connects to nothing until it is asked something.

    Args:
        settings: read from the environment where not given.

    Raises:
        ConfigError: a setting is missing or wrong.
    """
    chosen = load_settings() if settings is None else settings
    configure_logging(chosen.log_level, chosen.log_format)
    app = APIFlask(
        "headrace",
        title="Headrace",
        version=version("headrace"),
        # Its page of documentation loads scripts from another's server; ours is api.reference.
        docs_path=None,
    )
    app.config.update(
        HEADRACE_SETTINGS=chosen,
        # One byte more than is taken: Werkzeug cuts a body without a length here and says nothing.
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES + 1,
        AUTO_404_RESPONSE=False,
        AUTO_OPERATION_ID=False,
        # Its own shapes of errors, which no answer of ours has.
        AUTO_AUTH_ERROR_RESPONSE=False,
        AUTO_VALIDATION_ERROR_RESPONSE=False,
        # It would keep the Host of the first request that asked, whoever sent it.
        AUTO_SERVERS=False,
        SERVERS=None if chosen.api_url is None else [{"url": chosen.api_url}],
    )
    app.json = StrictJson(app)
    # Two slashes are another path, not a redirect.
    app.url_map.merge_slashes = False
    app.spec_processor(complete_document)  # type: ignore[arg-type]  # JSON is a dict, YAML a str
    app.security_schemes = {SECURITY: {"type": "http", "scheme": "bearer"}}
    app.extensions["headrace"] = _build_services(chosen)
    app.before_request(_begin)
    app.after_request(_end)
    register_problems(app)
    app.register_error_handler(idempotency.Replay, lambda replay: replay.response)
    for room in (
        files,
        media,
        tasks,
        task_events,
        actions,
        batches,
        batch_actions,
        batch_results,
        endpoints,
        webhook_secrets,
        webhook_actions,
        deliveries,
        events,
        keys,
        project,
        signatures,
        uploads,
        delivery,
        health,
        reference,
    ):
        app.register_blueprint(room.blueprint)
    return app


def _build_services(settings: Settings) -> Services:
    redis_url, rate = settings.redis_url.get_secret_value(), settings.rate_limit
    signals, sealer = Signals(redis_url), Sealer(settings.secret_keys)
    models, places = make_models(), max(1, settings.api_threads - _FREE_THREADS)
    return Services(
        settings=settings,
        database=Database(settings.sqlalchemy_url, pool_size=settings.api_threads),
        signals=signals,
        store=s3.connect(
            settings, pool_size=settings.api_threads, patience=s3.BRISK, models=models
        ),
        staging=s3.connect(settings, pool_size=places, patience=_STAGING, models=models),
        sealer=sealer,
        signer=UrlSigner(settings.secret_keys),
        planner=Planner(settings, sealer),
        queue=WakeQueue(settings, signals),
        request_limit=None if rate is None else RequestLimit(redis_url, rate),
        waiters=BoundedSemaphore(places),
        uploads=BoundedSemaphore(max(1, places // 2)),
        metrics=build_metrics(),
    )


def _begin() -> None:
    g.request_id = make_id(Prefix.REQUEST)
    g.began = time.perf_counter()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _end(response: Response) -> Response:
    idempotency.keep(response)
    elapsed_s = time.perf_counter() - g.began
    response.headers["X-Request-Id"] = g.request_id
    for name, value in _GUARDS.items():
        response.headers.setdefault(name, value)
    standing: Standing | None = g.get("standing")
    if standing is not None:
        response.headers["RateLimit-Limit"] = str(standing.limit)
        response.headers["RateLimit-Remaining"] = str(standing.remaining)
        response.headers["RateLimit-Reset"] = str(standing.reset_s)
    route = request.url_rule.rule if request.url_rule is not None else "none"
    metrics = get_services().metrics
    # Anybody can make up methods, and each label is kept for ever.
    method = request.method if request.method in _METHODS else "other"
    metrics.requests.labels(method, route, response.status_code).inc()
    metrics.seconds.labels(method, route).observe(elapsed_s)
    if request.path not in _QUIET:
        get_logger(__name__).info(
            "request.answered",
            method=request.method,
            path=request.path,
            status=response.status_code,
            duration_ms=round(elapsed_s * 1000, 1),
        )
    return response
