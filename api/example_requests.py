"""What the OpenAPI document shows as requests, and as answers that are no JSON."""

from __future__ import annotations

from collections.abc import Mapping

JsonDict = dict[str, object]

ULID = "01k9x3v5w8r2m4n6p7q8s9t0v1"
_URL = "https://example.com/video.mp4"
_RECEIVER = "https://example.com/webhooks/headrace"

# By the model of the body.
BODIES: Mapping[str, JsonDict] = {
    "FileRequest": {"url": _URL, "folder": "user_1234/uploads", "filename": "video.mp4"},
    "FileChange": {"ref": "upload-1", "metadata": {"album": "summer"}},
    "TaskRequest": {
        "kind": "ingest",
        "url": _URL,
        "folder": "user_1234/uploads",
        "ref": "upload-1",
        "metadata": {"album": "summer"},
    },
    "TaskChange": {"url": f"{_URL}?signature=n3w"},
    "BatchRequest": {
        "items": [{"url": _URL, "ref": "a"}, {"url": "https://example.com/b.mp4", "ref": "b"}],
        "defaults": {"folder": "archive"},
        "concurrency": 8,
    },
    "SourcedBatchRequest": {
        "source_url": "https://example.com/list.csv",
        "defaults": {"folder": "archive"},
    },
    "SignatureRequest": {"folder": "user_1234/uploads", "filename": "video.mp4"},
    "KeyRequest": {"name": "uploader", "scopes": ["read", "write"]},
    "EndpointRequest": {"url": _RECEIVER, "topics": ["task.completed", "task.failed"]},
    "EndpointChange": {"status": "disabled"},
    "RotateRequest": {"overlap_s": 3600},
    "ReplayRequest": {"since": "2026-01-01T00:00:00Z", "status": "failed"},
}
# What stands in a path, by its name there.
PATH_PARAMETERS: Mapping[str, str] = {
    "file_id": f"file_{ULID}",
    "media_id": f"med_{ULID}",
    "task_id": f"task_{ULID}",
    "batch_id": f"batch_{ULID}",
    "key_id": f"key_{ULID}",
    "endpoint_id": f"we_{ULID}",
    "delivery_id": f"del_{ULID}",
    "event_id": f"evt_{ULID}",
    "project_id": f"prj_{ULID}",
    "name": "user_1234/uploads/video.mp4",
}
# By their type.
STREAMS: Mapping[str, str] = {
    "text/csv": "line,status,url,folder,filename,ref,task_id,attempts,error_code,error_message,"
    "finished,file_id,file_url,kind,type,filesize,checksum,width,height,duration\r\n"
    f"1,failed,{_URL},archive,,a,task_{ULID},1,source_not_found,The source answered 404.,"
    "2026-01-01T12:00:02.480Z,,,,,,,,,\r\n",
    "application/x-ndjson": f'{{"line": 1, "status": "pending", "url": "{_URL}", "ref": "a"}}\n',
    "text/event-stream": "retry: 3000\n\n"
    f'event: task\ndata: {{"id": "task_{ULID}", "object": "task", "status": "processing"}}\n\n',
    "text/plain": "# HELP headrace_requests_total Requests answered, by route and status.\n"
    "# TYPE headrace_requests_total counter\n"
    'headrace_requests_total{method="POST",route="/files",status="201"} 42.0\n',
}
