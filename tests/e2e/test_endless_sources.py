"""S5: what swells or never ends is left within the limit and one part, at no cost in memory."""

from __future__ import annotations

import gzip
import itertools
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from cli.local import LocalStack
from ingest.config import MIB, Settings
from storage.objects.s3 import S3ObjectStore
from tests.support.api import Api, read_object
from tests.support.figures import Figures
from tests.support.leftovers import fail_cleanly, make_order
from tests.support.media import make_media
from tests.support.meter import Peaks
from tests.support.origin import Framing, Generated, Origin, Reply
from tests.support.padding import pad_mp4

pytestmark = pytest.mark.security

SHORT_CAP_BYTES, FULL_CAP_BYTES = 32 * MIB, 1024 * MIB
GROWTH_BYTES = 64 * MIB
BOMB_BYTES = 200 * MIB


def _bomb(wbits: int) -> bytes:
    """Return 200 MiB of zeros, in 200 KiB."""
    packer = zlib.compressobj(9, wbits=wbits)
    block = bytes(MIB)
    packed = [packer.compress(block) for _ in range(BOMB_BYTES // MIB)]
    return b"".join(packed) + packer.flush()


def _repeat(head: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: itertools.chain([head], itertools.repeat(bytes(MIB)))


def _make_sources(video: Generated) -> dict[str, tuple[str, Reply]]:
    """Return what becomes of each source, and what it answers."""
    bomb = _bomb(31)
    coded = {"gzip": bomb, "deflate": _bomb(15), "gzip, gzip": gzip.compress(bomb)}
    sources = {
        f"200 MiB as {name}": (
            "source_invalid",
            Reply(body=body, headers={"Content-Encoding": name}),
        )
        for name, body in coded.items()
    }
    as_video = Reply(body=bomb, content_type="video/mp4")
    sources["200 MiB as a file of gzip"] = ("source_not_media", as_video)
    endless = _repeat(video.head)
    for framing in (Framing.CHUNKED, Framing.CLOSE):
        endless_video = Reply(body=endless, framing=framing)
        sources[f"endless video, {framing}"] = ("source_too_large", endless_video)
        zeros = Reply(body=_repeat(b""), framing=framing)
        sources[f"endless zeros, {framing}"] = ("source_not_media", zeros)
    for digits, code in ((18, "source_too_large"), (4000, "source_invalid")):
        claim = Reply(body=endless, content_lengths=["9" * digits])
        sources[f"endless video with a length of {digits} digits"] = (code, claim)
    return sources


@pytest.mark.timeout(600)
def test_s5_what_swells_or_never_ends_is_left_in_time_and_costs_no_memory(
    stack: LocalStack,
    api: Api,
    settings: Settings,
    store: S3ObjectStore,
    origin: Origin,
    media_folder: Path,
    picture_url: str,
    security_figures: Figures,
    *,
    security_full: bool,
) -> None:
    cap = FULL_CAP_BYTES if security_full else SHORT_CAP_BYTES
    part = settings.part_bytes
    video = make_media("mp4", media_folder).read_bytes()
    sources = _make_sources(pad_mp4(video, 2 * cap))
    # The worker has its buffers already, as any that has worked: a lone ingest may use ten of them.
    url = origin.route("/endless/good", Reply(body=pad_mp4(video, cap), framing=Framing.CHUNKED))
    read_object(api.post("/files", make_order(url)), 201)
    read: dict[str, int] = {}
    sent: dict[str, int] = {}
    done = f"{len(sources)} sources that swell or never end, with a limit of {cap // MIB} MiB"
    with (
        security_figures.row("S5", done) as row,
        # What is ingested in between, to see that the name is free, is probed by others.
        Peaks(stack.processes["worker"], children=False) as memory,
    ):
        for name, (code, reply) in sources.items():
            order = make_order("", max_bytes=cap)
            path = f"/{order['folder']}"
            order["url"] = origin.route(path, reply)
            task = fail_cleanly(api, store, order, code, picture_url)
            read[name] = sum(one["bytes"] for one in cast("list[dict[str, int]]", task["attempts"]))
            sent[name] = origin.sent_bytes(path)
        row.note("each fails with its own error and leaves nothing", len(read), held=True)
        for what, taken, allowed in (
            ("read", read, cap + part),
            ("sent, the sockets' buffers included", sent, cap + part + _measure_buffers()),
        ):
            furthest = max(taken, key=lambda name: taken[name])
            row.note(
                f"{allowed // MIB} MiB at most are {what}",
                f"{taken[furthest] / MIB:.1f} MiB of {furthest}",
                held=taken[furthest] <= allowed,
            )
        row.note(
            f"the worker grows by {GROWTH_BYTES // MIB} MiB at most",
            f"{memory.grown_bytes / MIB:.1f} MiB",
            held=memory.grown_bytes <= GROWTH_BYTES,
        )


def _measure_buffers() -> int:
    """Return what the kernel may hold of a connection that nobody reads any more (tcp(7))."""
    limits = [Path(f"/proc/sys/net/ipv4/tcp_{way}mem").read_text().split() for way in "rw"]
    return sum(int(limit[-1]) for limit in limits)
