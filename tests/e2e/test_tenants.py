"""S6: another project's ids are unknown ones, whatever is asked of them, with whatever key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

import pytest
from sqlalchemy import text

from cli.local import LocalStack
from ingest.access import Scope
from ingest.ids import Prefix, make_id
from storage.records.database import Database
from tests.e2e.refusals import strip_answer
from tests.support.api import Api, JsonDict, read_error, read_list, read_object
from tests.support.batches import send_items, wait_until_over
from tests.support.figures import Figures
from tests.support.inbox import list_deliveries, open_inbox
from tests.support.origin import Origin
from tests.support.projects import make_project
from tests.support.tasks import create_task, wait_for_end
from tests.support.waiting import wait_until

pytestmark = pytest.mark.security

# What each parameter of a path names, by its name in the OpenAPI document.
NAMED = {
    "file_id": Prefix.FILE,
    "task_id": Prefix.TASK,
    "key_id": Prefix.KEY,
    "endpoint_id": Prefix.ENDPOINT,
    "delivery_id": Prefix.DELIVERY,
    "event_id": Prefix.EVENT,
    "batch_id": Prefix.BATCH,
    "media_id": Prefix.MEDIA,
}
# For whoever has the address, as docs/api.md says.
SHARED = {"/delivery/{name}", "/uploads/{project_id}/{name}"}
BODIES: Mapping[str, object] = {"patch": {"url": "http://nowhere.invalid/stolen.mp4"}, "post": {}}
TABLES = ("tasks", "files", "names", "keys", "webhook_endpoints", "events", "deliveries", "batches")
REPLAY = {"since": "2020-01-01T00:00:00Z"}
LISTS = [
    "/files",
    "/tasks",
    "/keys",
    "/webhooks/endpoints",
    "/webhooks/deliveries",
    "/events",
    "/batches",
    "/media",
]


@dataclass(frozen=True, slots=True)
class Tenant:
    """A project whose key may do everything."""

    api: Api
    project_id: str

    @classmethod
    def open(cls, stack: LocalStack, database: Database, held: ExitStack) -> Self:
        """Make an empty project."""
        project, secret = make_project(database, scopes=[Scope.ADMIN])
        return cls(held.enter_context(Api(stack.api_url, secret)), project.id)


@dataclass(frozen=True, slots=True)
class Victim:
    """A project with something of everything, in every state that a task is in."""

    tenant: Tenant
    ids: Mapping[Prefix, list[str]]
    before: str


@pytest.fixture(scope="module")
def open_tenant(stack: LocalStack, database: Database) -> Iterator[Callable[[], Tenant]]:
    """Makes a new, empty project at each call."""
    with ExitStack() as held:
        yield lambda: Tenant.open(stack, database, held)


@pytest.fixture(scope="module")
def victim(
    open_tenant: Callable[[], Tenant], database: Database, origin: Origin, picture_url: str
) -> Victim:
    """What everybody else must see and change nothing of."""
    tenant = open_tenant()
    api = tenant.api
    batch = wait_until_over(api, send_items(api, [{"url": picture_url}, {"url": "nothing"}]))
    inbox = open_inbox(api, origin, ["file.created"])
    file = read_object(api.post("/files", {"url": picture_url, "ref": "mine"}), 201)
    complete = wait_for_end(api, create_task(api, picture_url))
    failed = wait_for_end(api, create_task(api, origin.url("/tenants/nothing")))
    cancelled = create_task(api, origin.url("/tenants/nothing"), max_attempts=1)
    api.post(f"/tasks/{cancelled['id']}/cancel", {})
    key = read_object(api.post("/keys", {"name": "mine"}), 201)
    tasks = [str(task["id"]) for task in (complete, failed, cancelled)]
    ids = {Prefix.FILE: [str(file["id"])], Prefix.TASK: tasks, Prefix.KEY: [str(key["id"])]}
    for task in tasks:
        wait_for_end(api, {"id": task})
    inbox.wait_for("file.created")
    # Nothing of this project changes by itself from here on.
    wait_until(lambda: len(list_deliveries(api, inbox, "&status=delivered")) == 2, "both of them")
    deliveries = list_deliveries(api, inbox)
    ids[Prefix.ENDPOINT] = [inbox.endpoint_id]
    ids[Prefix.MEDIA] = [str(file["media_id"])]
    ids[Prefix.BATCH] = [str(batch["id"])]
    ids[Prefix.DELIVERY] = [str(one["id"]) for one in deliveries]
    ids[Prefix.EVENT] = [str(one["event_id"]) for one in deliveries]
    return Victim(tenant, ids, read_rows(database, tenant.project_id))


def read_rows(database: Database, project_id: str) -> str:
    """Return all that the database has of a project, but for when its keys were used."""
    with database.transaction() as connection:
        return "\n".join(
            row[0]
            for table in TABLES
            for row in connection.execute(
                text(
                    f"SELECT (to_jsonb(one) - 'last_used')::text FROM {table} AS one "  # noqa: S608
                    "WHERE project_id = :project_id ORDER BY 1"
                ),
                {"project_id": project_id},
            )
        )


def list_doors(api: Api) -> list[tuple[str, str, str]]:
    """Return method, path and parameter of each operation that is asked for something by its id."""
    found = []
    for path, operations in api.get("/openapi.json").json()["paths"].items():
        names = [part.strip("{}") for part in path.split("/") if part.startswith("{")]
        for method in operations:
            if names and path not in SHARED:
                (name,) = names
                found.append((method, path, name))
    return found


def test_another_projects_id_is_answered_to_the_byte_as_an_unknown_one(
    victim: Victim,
    open_tenant: Callable[[], Tenant],
    database: Database,
    security_figures: Figures,
) -> None:
    stranger = open_tenant().api
    doors = list_doors(stranger)
    tried, differing = 0, []
    for method, path, name in doors:
        # A parameter that this table does not know is one that nobody has thought of here.
        for foreign in victim.ids[NAMED[name]]:
            unknown = make_id(NAMED[name])
            answers = [
                _ask(stranger, method, path.replace(f"{{{name}}}", one))
                for one in (foreign, unknown)
            ]
            renamed = answers[0][1].replace(foreign.encode(), unknown.encode())
            if (answers[0][0], renamed, answers[0][2]) != answers[1]:
                differing.append((method, path))
            tried += 1
    assert len(doors) >= 8
    assert tried > len(doors)
    with security_figures.row("S6", f"{tried} times a foreign id, at {len(doors)} doors") as row:
        row.note("each answer is that to an unknown id", differing or 0, held=not differing)
        same = read_rows(database, victim.tenant.project_id) == victim.before
        row.note("nothing of the other project changes", "the same" if same else "", held=same)


def _ask(api: Api, method: str, path: str) -> tuple[int, bytes, Mapping[str, str]]:
    body = BODIES.get(method)
    if method == "patch" and path.startswith("/files/"):
        answer = api.patch(path, {"ref": "stolen"})
    elif method == "patch":
        answer = api.patch(path, body)
    elif method == "post":
        answer = api.post(path, REPLAY if path.endswith("/replay") else body)
    else:
        answer = api.send(method.upper(), path)
    read_error(answer, 404, "not_found")
    return strip_answer(answer)


@pytest.mark.parametrize("path", LISTS)
def test_a_list_holds_nothing_of_another_project(
    victim: Victim, open_tenant: Callable[[], Tenant], path: str
) -> None:
    stranger = open_tenant().api
    own = 1 if path == "/keys" else 0
    ids = [one for found in victim.ids.values() for one in found]
    queries = ["", "?limit=100", "?page=2"]
    queries += [f"?{edge}={one}" for edge in ("after", "before") for one in ids]
    if path in {"/files", "/tasks"}:
        queries.append("?ref=mine")
    if path == "/webhooks/deliveries":
        queries += [f"?endpoint_id={one}" for one in victim.ids[Prefix.ENDPOINT]]
        queries += [f"?event_id={one}" for one in victim.ids[Prefix.EVENT]]
    if path == "/events":
        queries += [f"?subject_id={one}" for one in victim.ids[Prefix.TASK]]
    for query in queries:
        answer = stranger.get(path + query)
        items, meta, _ = read_list(answer)
        assert meta["total"] == own
        assert len(items) <= own
        assert not any(one in str(items) for one in ids)


def test_an_order_may_not_name_anothers_place_or_id(
    victim: Victim, open_tenant: Callable[[], Tenant], database: Database, picture_url: str
) -> None:
    stranger = open_tenant().api
    for field in ("project_id", "file_id", "id", "key_prefix", "task_id"):
        order: JsonDict = {"url": picture_url, field: victim.tenant.project_id}
        assert read_error(stranger.post("/files", order), 422, "field_invalid")["param"] == field
    order = {"url": picture_url, "filename": f"{victim.ids[Prefix.FILE][0]}.jpg"}
    assert read_error(stranger.post("/files", order), 422, "field_invalid")["param"] == "filename"
    assert read_rows(database, victim.tenant.project_id) == victim.before


def test_a_key_sees_its_own(victim: Victim) -> None:
    api = victim.tenant.api
    prefixes = [
        Prefix.FILE, Prefix.TASK, Prefix.KEY, Prefix.ENDPOINT, Prefix.DELIVERY, Prefix.EVENT,
        Prefix.BATCH, Prefix.MEDIA,
    ]  # fmt: skip
    for path, prefix in zip(LISTS, prefixes, strict=True):
        for one in victim.ids[prefix]:
            assert read_object(api.get(f"{path}/{one}"))["id"] == one
