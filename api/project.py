"""``/project``: whom the key speaks for, and what it may still take."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response

from api.admission import admit
from api.answers import ProjectAnswer
from api.auth import get_project
from api.documents import describe
from api.envelope import build_object
from api.services import get_services
from api.tenancy import show_project
from storage.records import projects

blueprint = APIBlueprint("project", __name__, tag="Project")
blueprint.before_request(admit)


@blueprint.get("/project")
@describe(
    blueprint, "Get the project", "Its limits, and what it takes of them.", {200: ProjectAnswer}
)
def read() -> Response:
    """Answer with the project of the key."""
    project = get_project()
    with get_services().database.transaction() as connection:
        limits, usage = projects.read_limits(connection, project.id)
    return build_object(show_project(project, limits, usage), "/project")
