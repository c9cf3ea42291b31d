"""S8: what is too long, too deep or no text is refused at once, and costs the API nothing.

Requests are written byte for byte, since no client would send them.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import psutil
import pytest

from ingest.config import MIB
from tests.security.conftest import IdleStack
from tests.support.api import Api, read_list
from tests.support.figures import Figures
from tests.support.meter import Peaks

pytestmark = pytest.mark.security

ANSWERED_WITHIN_S = 0.1
GROWTH_BYTES = 16 * MIB
# The machine has other things to do as well: what counts is the best of some tries.
SHORT_TRIES, FULL_TRIES = 4, 40
ORDER = {"kind": "ingest", "url": "http://nowhere.invalid/a.mp4"}
# One of each kind of text that a request may hold.
TEXTS: Mapping[str, object] = {
    "url": "http://nowhere.invalid/\0.mp4",
    "folder": "a\0b",
    "filename": "a\0.mp4",
    "ref": "a\0",
    "checksum": "sha256:\0" + "0" * 63,
    "kind": "ingest\0",
    "metadata": {"a": "b\0"},
    "headers": {"X-A": "b\0"},
}
Made = tuple[str, str, Mapping[str, str], bytes]


def _make_requests() -> Iterator[tuple[str, Made]]:
    for path in ("/tasks", "/files"):
        yield from _make_bodies(path)
    for size in (64 * 1024, MIB):
        yield f"a header of {size // 1024} KiB", ("GET", "/tasks", {"X-Long": "a" * size}, b"")
        yield f"a key of {size // 1024} KiB", ("GET", "/tasks", {"Authorization": "a" * size}, b"")
    many = {f"X-{number}": "a" for number in range(10_000)}
    yield "10,000 headers", ("GET", "/tasks", many, b"")
    fields = "&".join(f"a{number}=1" for number in range(10_000))
    yield "10,000 query fields", ("GET", f"/tasks?{fields}", {}, b"")
    yield "1,000 query fields", ("GET", f"/tasks?{'&'.join(fields.split('&')[:1000])}", {}, b"")
    yield "one query field 1,000 times", ("GET", f"/tasks?{'limit=1&' * 1000}", {}, b"")
    yield "a path of 64 KiB", ("GET", "/tasks/" + "a" * 65536, {}, b"")
    for text in ("%FF", "%C0%AF", "%ED%A0%80", "%00", "%F4%90%80%80"):
        yield f"{text} in a path", ("GET", f"/tasks/{text}", {}, b"")
        yield f"{text} in a query", ("GET", f"/tasks?ref={text}&limit=none", {}, b"")
        yield f"{text} as a cursor", ("GET", f"/tasks?after={text}", {}, b"")
    yield "a header that is no text", ("GET", "/tasks", {"Authorization": "Bearer \xff\xfe"}, b"")


def _make_bodies(path: str) -> Iterator[tuple[str, Made]]:
    def post(body: bytes) -> Made:
        return "POST", path, {"Content-Type": "application/json"}, body

    yield f"10 MiB to {path}", post(b'{"url": "' + b"a" * (10 * MIB) + b'"}')
    yield f"1 MiB of one string to {path}", post(b'{"url": "' + b"a" * (MIB - 12) + b'"}')
    yield f"1 MiB of digits to {path}", post(b'{"max_bytes": ' + b"9" * (MIB - 16) + b"}")
    yield f"arrays 10,000 deep to {path}", post(b"[" * 10_000 + b"]" * 10_000)
    yield f"objects 10,000 deep to {path}", post(b'{"a":' * 10_000 + b"1" + b"}" * 10_000)
    deep = b'{"metadata":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001
    yield f"metadata 10,000 deep to {path}", post(deep)
    fields = json.dumps({f"a{number}": number for number in range(10_000)})
    yield f"10,000 fields to {path}", post(fields.encode())
    headers = json.dumps({**ORDER, "headers": {f"X-{number}": "a" for number in range(10_000)}})
    yield f"10,000 headers for the source to {path}", post(headers.encode())
    for raw in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"):
        body = json.dumps(ORDER).encode().replace(b"nowhere", b"now" + raw + b"here")
        yield f"{raw!r} in a body to {path}", post(body)
    for name, value in TEXTS.items():
        body = json.dumps({**ORDER, name: value}).encode()
        yield f"U+0000 in {name} to {path}", post(body)


def test_s8_hostile_requests_are_refused_at_once_and_cost_nothing(
    idle: IdleStack, security_figures: Figures, *, security_full: bool
) -> None:
    requests = dict(_make_requests())
    tries = FULL_TRIES if security_full else SHORT_TRIES
    before = read_list(idle.api.get("/tasks"))[1]["total"]
    done = f"{len(requests)} hostile requests, {tries} times each"
    with security_figures.row("S8", done) as row:
        with ExitStack() as held:
            pid = idle.stack.processes["api"]
            pids = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
            memory = [held.enter_context(Peaks(one, children=False)) for one in pids]
            answers = {name: _try(idle.api, made, tries) for name, made in requests.items()}
        taken = {name: found for name, found in answers.items() if found[0] // 100 != 4}
        row.note("each is answered 4xx", taken or len(answers), held=not taken)
        slowest = max(answers, key=lambda name: answers[name][1])
        slowest_s = answers[slowest][1]
        row.note(
            f"within {ANSWERED_WITHIN_S * 1000:.0f} ms (best of {tries})",
            f"{slowest_s * 1000:.1f} ms at most, for {slowest}",
            held=slowest_s < ANSWERED_WITHIN_S,
        )
        grown_bytes = max(one.grown_bytes for one in memory)
        row.note(
            f"no process of the API grows by more than {GROWTH_BYTES // MIB} MiB",
            f"{grown_bytes / MIB:.1f} MiB",
            held=grown_bytes <= GROWTH_BYTES,
        )
        after = read_list(idle.api.get("/tasks"))[1]["total"]
        row.note("nothing is ordered", after, held=after == before)


def _try(api: Api, made: Made, tries: int) -> tuple[int, float]:
    """Return the worst status and the shortest time of some tries."""
    found = [_send(api, made) for _ in range(tries)]
    return max(status for status, _ in found), min(taken_s for _, taken_s in found)


def _send(api: Api, made: Made) -> tuple[int, float]:
    """Return an answer's status, 999 without one, and the seconds that it took."""
    method, path, headers, body = made
    server = urlsplit(api.url)
    own = {"Host": server.netloc, "Authorization": f"Bearer {api.key}", "Connection": "close"}
    lines = [f"{name}: {value}" for name, value in {**own, **headers}.items()]
    lines += [f"Content-Length: {len(body)}"] if body else []
    head = "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")
    with socket.create_connection((str(server.hostname), int(server.port or 80)), 10) as sent:
        begun = time.perf_counter()
        # Who refuses early does not read the rest.
        with suppress(BrokenPipeError, ConnectionResetError):
            sent.sendall(head + body)
        answer = http.client.HTTPResponse(sent, method=method)
        try:
            answer.begin()
            answer.read()
        except (http.client.HTTPException, ConnectionResetError):
            return 999, time.perf_counter() - begun
        return answer.status, time.perf_counter() - begun
