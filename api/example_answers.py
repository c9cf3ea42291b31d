"""What the OpenAPI document shows as answers.

They are made of the models that real answers are made of, so one that lacks a field does not build.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from api import answers
from api.signature_answers import show_signature
from api.tenancy import KeyResource, NewKeyResource, ProjectLimits, ProjectResource, ProjectUsage
from api.webhook_answers import NewEndpointResource, ReplayResource, SecretResource
from ingest.access import Scope
from ingest.batch_resources import (
    BatchCheckResource,
    BatchResource,
    CountsResource,
    RejectResource,
)
from ingest.batches import BatchStatus
from ingest.events import EventType
from ingest.formats import Kind
from ingest.model import Dedupe, FileAccess
from ingest.resources import (
    AttemptResource,
    AudioResource,
    ColorResource,
    DeletedResource,
    FileResource,
    InputResource,
    MediaResource,
    OptionsResource,
    TaskResource,
)
from ingest.states import Status
from ingest.url_signatures import Grant, SignedMethod
from ingest.webhook_resources import (
    DeliveryAttemptResource,
    DeliveryResource,
    EndpointResource,
    EventResource,
)
from ingest.webhooks import DeliveryStatus, EndpointStatus

JsonDict = dict[str, object]

_API = "https://headrace.example.com"
_URL = "https://example.com/video.mp4"
_RECEIVER = "https://example.com/webhooks/headrace"
_MADE, _BEGUN, _DONE = (
    f"2026-01-01T12:00:{seconds}Z" for seconds in ("00.000", "00.120", "02.480")
)
_ULID = "01k9x3v5w8r2m4n6p7q8s9t0v1"

_FILE = FileResource(
    id=f"file_{_ULID}",
    media_id=f"med_{_ULID}",
    kind=Kind.VIDEO,
    type="video/mp4",
    codec="h264",
    container="mp4",
    width=1920,
    height=1080,
    orientation="landscape",
    rotation=0,
    transparency=False,
    animated=None,
    frames=3600,
    duration=120.12,
    fps=29.97,
    filesize=18874368,
    bitrate=1257034,
    language="eng",
    label=None,
    ref="upload-1",
    folder="user_1234/uploads",
    filename="video.mp4",
    url=f"{_API}/delivery/user_1234/uploads/video.mp4",
    access=FileAccess.PUBLIC,
    placeholder="1QcSHQRnh493V4dIh4eXh1h4kJUI",
    background="#2a5c8f",
    poster=f"{_API}/delivery/file_{_ULID}.poster.jpg",
    metadata={"album": "summer"},
    original=True,
    checksum="sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    source=_URL,
    streams=[
        {"index": 0, "codec_type": "video", "codec_name": "h264", "width": 1920, "height": 1080},
        {"index": 1, "codec_type": "audio", "codec_name": "aac", "channels": 2},
    ],
    codecs="avc1.640028,mp4a.40.2",
    frame_rate="30000/1001",
    mirrored=False,
    color=ColorResource(
        range="tv",
        space="bt709",
        primaries="bt709",
        transfer="bt709",
        pixel_format="yuv420p",
        bit_depth=8,
    ),
    hdr=None,
    audio=AudioResource(channels=2, layout="stereo", sample_rate=48000, bit_depth=None),
    chapters=[],
    tags={"encoder": "Lavf62.3.100"},
    created=_DONE,
    updated=_DONE,
)
_TASK = TaskResource(
    id=f"task_{_ULID}",
    kind="ingest",
    status=Status.COMPLETE,
    progress=100,
    transfer=None,
    input=InputResource(url=_URL, folder=_FILE.folder, filename=_FILE.filename),
    options=OptionsResource(
        checksum=None,
        max_bytes=None,
        priority=0,
        max_attempts=5,
        webhook_url=None,
        overwrites=False,
        dedupe=Dedupe.NONE,
        access=FileAccess.PUBLIC,
        poster=True,
    ),
    output=_FILE,
    duplicate_of=None,
    error=None,
    attempts=[
        AttemptResource(
            number=1,
            worker="worker-1",
            started=_BEGUN,
            finished=_DONE,
            bytes=18874368,
            error=None,
        )
    ],
    batch_id=None,
    ref=_FILE.ref,
    metadata=_FILE.metadata,
    created=_MADE,
    started=_BEGUN,
    finished=_DONE,
    updated=_DONE,
    next_attempt_at=None,
)
# As it is answered with when it was asked for.
_NEW_TASK = _TASK.model_copy(
    update={
        "status": Status.PENDING,
        "progress": 0,
        "output": None,
        "attempts": [],
        "started": None,
        "finished": None,
        "updated": _MADE,
    }
)
_MEDIA = MediaResource(
    id=_FILE.media_id,
    kind=_FILE.kind,
    width=_FILE.width,
    height=_FILE.height,
    duration=_FILE.duration,
    placeholder=_FILE.placeholder,
    background=_FILE.background,
    files=[_FILE],
    urls={"original": _FILE.url, "upload-1": _FILE.url},
    created=_DONE,
    updated=_DONE,
)
_REJECT = RejectResource(
    line=3,
    url="ftp://example.com/a.mp4",
    code="field_invalid",
    message="'url' takes http, https and s3.",
    param="url",
)
_BATCH = BatchResource(
    id=f"batch_{_ULID}",
    status=BatchStatus.PROCESSING,
    progress=40,
    total=1000,
    rejected=1,
    counts=CountsResource(pending=592, processing=8, complete=398, failed=2, cancelled=0),
    stored_bytes=7511998464,
    rate=12.5,
    rate_bps=235929600.0,
    eta_s=48.0,
    concurrency=8,
    ref="archive-2026",
    metadata=None,
    webhook_url=_RECEIVER,
    source_url=None,
    dry_run=False,
    error=None,
    rejects=[_REJECT],
    created=_MADE,
    finished=None,
    updated=_DONE,
)
_ENDPOINT = EndpointResource(
    id=f"we_{_ULID}",
    url=_RECEIVER,
    topics=["task.completed", "task.failed"],
    description="The shop's back end",
    metadata=None,
    status=EndpointStatus.ENABLED,
    disabled_for=None,
    failing_since=None,
    old_secret_until=None,
    created=_MADE,
    updated=_MADE,
)
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - that of an example
_EVENT = EventResource(
    id=f"evt_{_ULID}",
    type=EventType.TASK_COMPLETED,
    subject_id=_TASK.id,
    created=_DONE,
    data=_TASK,
)
_DELIVERY = DeliveryResource(
    id=f"del_{_ULID}",
    event_id=_EVENT.id,
    event_type=_EVENT.type,
    endpoint_id=_ENDPOINT.id,
    url=None,
    status=DeliveryStatus.DELIVERED,
    next_attempt_at=None,
    attempts=[
        DeliveryAttemptResource(
            number=1, started=_DONE, duration_ms=84, http_status=204, answer="", error=None
        )
    ],
    created=_DONE,
    finished=_DONE,
)
_KEY = KeyResource(
    id=f"key_{_ULID}",
    name="uploader",
    prefix="hr_k3x7q2",
    scopes=[Scope.READ, Scope.WRITE],
    created=_MADE,
    last_used=None,
    expires="2030-01-01T00:00:00.000Z",
    revoked=None,
)
_PROJECT = ProjectResource(
    id=f"prj_{_ULID}",
    name="main",
    prefix="",
    limits=ProjectLimits(running=16, stored_bytes=None),
    usage=ProjectUsage(running=8, pending=592, files=398, stored_bytes=7511998464),
)

# What stands in each answer, and where it can be read again.
_SIGNATURE = show_signature(
    Grant(SignedMethod.GET, _PROJECT.id, "user_1234/uploads/video.mp4", 1_798_761_600),
    "user_1234/uploads",
    "video.mp4",
    _FILE.url,
    "5d3c0f" + 58 * "0",
)
_SHOWN: Sequence[tuple[type[BaseModel], BaseModel, str]] = (
    (answers.FileAnswer, _FILE, f"/files/{_FILE.id}"),
    (answers.FileListAnswer, _FILE, "/files"),
    (answers.DeletedAnswer, DeletedResource(id=_FILE.id, message=f"{_FILE.id} is deleted."),
     f"/files/{_FILE.id}"),
    (answers.MediaAnswer, _MEDIA, f"/media/{_MEDIA.id}"),
    (answers.MediaListAnswer, _MEDIA, "/media"),
    (answers.TaskAnswer, _TASK, f"/tasks/{_TASK.id}"),
    (answers.TaskListAnswer, _TASK, "/tasks"),
    (answers.SignatureAnswer, _SIGNATURE, "/signatures"),
    (answers.BatchAnswer, _BATCH, f"/batches/{_BATCH.id}"),
    (answers.BatchListAnswer, _BATCH, "/batches"),
    (answers.BatchCheckAnswer, BatchCheckResource(total=1000, rejected=1, rejects=[_REJECT]),
     "/batches"),
    (answers.KeyAnswer, _KEY, f"/keys/{_KEY.id}"),
    (answers.KeyListAnswer, _KEY, "/keys"),
    (answers.NewKeyAnswer,
     NewKeyResource(**_KEY.model_dump(), secret="hr_k3x7q2a9s8d7f6g5h4j3k2l1z0x9c8v7"),  # noqa: S106
     f"/keys/{_KEY.id}"),
    (answers.ProjectAnswer, _PROJECT, "/project"),
    (answers.EndpointAnswer, _ENDPOINT, f"/webhooks/endpoints/{_ENDPOINT.id}"),
    (answers.EndpointListAnswer, _ENDPOINT, "/webhooks/endpoints"),
    (answers.NewEndpointAnswer, NewEndpointResource(**_ENDPOINT.model_dump(), secret=_SECRET),
     f"/webhooks/endpoints/{_ENDPOINT.id}"),
    (answers.SecretAnswer, SecretResource(secret=_SECRET, old_secret_until=None),
     "/webhooks/secret"),
    (answers.DeliveryAnswer, _DELIVERY, f"/webhooks/deliveries/{_DELIVERY.id}"),
    (answers.DeliveryListAnswer, _DELIVERY, "/webhooks/deliveries"),
    (answers.ReplayAnswer, ReplayResource(endpoint_id=_ENDPOINT.id, deliveries=17, complete=True),
     f"/webhooks/endpoints/{_ENDPOINT.id}/replay"),
    (answers.EventAnswer, _EVENT, f"/events/{_EVENT.id}"),
    (answers.EventListAnswer, _EVENT, "/events"),
)  # fmt: skip


def build_answers() -> dict[str, JsonDict]:
    """Return an example of each answer, by the name of its model."""
    built = {answer.__name__: _wrap(answer, data, path) for answer, data, path in _SHOWN}
    built["NewTaskAnswer"] = _wrap(answers.TaskAnswer, _NEW_TASK, f"/tasks/{_TASK.id}")
    built["Health"] = {"status": "ok"}
    built["Readiness"] = {
        "status": "ok",
        "checks": {"postgresql": "ok", "redis": "ok", "s3": "ok", "worker": "ok"},
    }
    return built


def build_error(code: str, message: str, param: str | None) -> JsonDict:
    """Return an example of an error."""
    return {
        "meta": {"id": f"req_{_ULID}", "type": "error"},
        "data": None,
        "error": {"code": code, "message": message, "param": param},
        "links": {"self": f"{_API}/files"},
    }


def _wrap(answer: type[BaseModel], data: BaseModel, path: str) -> JsonDict:
    shown, url = data.model_dump(mode="json"), _API + path
    if answer.model_fields["meta"].annotation is answers.Meta:
        meta: JsonDict = {"id": f"req_{_ULID}", "type": "object"}
        return {"meta": meta, "data": shown, "links": {"self": url}}
    counts = {"total": 1, "page": 1, "limit": 20, "pages": 1}
    first = f"{url}?page=1"
    links = {"self": first, "first": first, "prev": None, "next": None, "last": first}
    return {
        "meta": {"id": f"req_{_ULID}", "type": "list"} | counts,
        "data": [shown],
        "links": links,
    }
