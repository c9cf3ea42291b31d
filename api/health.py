"""``/healthz``: this process lives. ``/readyz``: what it stands on does too. ``/metrics``."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response, jsonify

from api.answers import Health, Readiness
from api.documents import describe
from api.scrape import CONTENT_TYPE, collect
from api.services import get_services
from storage.readiness import OK, check_services, check_worker

blueprint = APIBlueprint("health", __name__, tag="Service")


@blueprint.get("/healthz")
@describe(blueprint, "Is this process alive?", "", {200: Health}, public=True)
def healthz() -> Response:
    """Answer ok without asking anybody."""
    return jsonify({"status": "ok"})


@blueprint.get("/readyz")
@describe(
    blueprint,
    "Is everything there that an ingest needs?",
    "Each part with its state.",
    {200: Readiness, 503: Readiness},
    public=True,
)
def readyz() -> tuple[Response, int]:
    """Ask PostgreSQL, Redis and S3 for a sign of life, and look for a live worker."""
    services = get_services()
    states = check_services(services.database, services.signals, services.store)
    states["worker"] = check_worker(services.signals)
    ready = all(state == OK for state in states.values())
    body = {"status": OK if ready else "unavailable", "checks": states}
    return jsonify(body), 200 if ready else 503


@blueprint.get("/metrics")
@describe(blueprint, "Prometheus metrics", "", {200: None}, public=True, stream="text/plain")
def metrics() -> Response:
    """Answer in Prometheus' text format."""
    return Response(collect(get_services()), content_type=CONTENT_TYPE)
