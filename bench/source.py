"""The source as a process: media from memory, as fast as the kernel takes it.

``/mp4/<bytes>.mp4`` are the videos it was told to make, ``/jpeg/<n>.jpg`` are pictures without
number, none like another. It obeys Range and If-Range, sends strong ETags, keeps connections open,
says its port and where the videos are in JSON once it listens, and serves until stdin ends.

It sends with plain ``send`` from memory: on the loopback that is half as fast again as
``sendfile`` and costs its reader less, since what it sends lies in larger pieces.
"""

from __future__ import annotations

import argparse
import json
import mmap
import re
import socket
import sys
import threading
from pathlib import Path

from bench.media import Media, make_jpeg_end
from bench.wire import HOST, Inlet, RequestHead, parse_range, serve_forever

_JPEG = re.compile(r"/jpeg/(\d+)\.jpg")
# Less at once costs more calls; more does not stay in the processor's cache.
_SEND_BYTES = 1024 * 1024


class Source:
    """Answers requests.

    Args:
        mp4_bytes: the sizes of the videos.
        jpeg_bytes: the size of every picture.
    """

    def __init__(self, media: Media, mp4_bytes: list[int], jpeg_bytes: int) -> None:
        self._videos = {f"/mp4/{size}.mp4": _hold(media, size) for size in mp4_bytes}
        self._jpeg_prefix = media.make_jpeg_prefix(jpeg_bytes)

    @property
    def paths(self) -> list[str]:
        """Where the videos are, in the order of their sizes as given."""
        return list(self._videos)

    def converse(self, connection: socket.socket) -> None:
        """Answer on one connection until the client is done."""
        inlet = Inlet(connection)
        while (head := inlet.read_head()) is not None:
            inlet.drain(head.body_bytes)
            self._answer(connection, head)

    def _answer(self, connection: socket.socket, head: RequestHead) -> None:
        video = self._videos.get(head.path)
        picture = _JPEG.fullmatch(head.path)
        if video is None and picture is None:
            connection.sendall(_write_head(404, "none", 0, None, 0))
            return
        end = b"" if picture is None else make_jpeg_end(int(picture[1]))
        size_bytes = len(video) if video else len(self._jpeg_prefix) + len(end)
        etag = f'"{size_bytes}{head.path}"'
        kind = "video/mp4" if video else "image/jpeg"
        obeyed = head.headers.get("if-range") in {None, etag}
        try:
            wanted = parse_range(head.headers.get("range") if obeyed else None, size_bytes)
        except ValueError:
            connection.sendall(_write_head(416, etag, 0, None, size_bytes, kind))
            return
        status = 200 if wanted is None else 206
        first, stop = wanted or (0, size_bytes)
        answer = _write_head(status, etag, stop - first, wanted, size_bytes, kind)
        if head.method == "HEAD":
            connection.sendall(answer)
        elif video:
            connection.sendall(answer)
            for at in range(first, stop, _SEND_BYTES):
                connection.sendall(video[at : min(at + _SEND_BYTES, stop)])
        else:
            connection.sendall(answer + (self._jpeg_prefix + end)[first:stop])


def _hold(media: Media, size_bytes: int) -> memoryview:
    held = mmap.mmap(-1, size_bytes)
    for piece in media.make_mp4(size_bytes).read_pieces(0, size_bytes):
        held.write(piece)
    return memoryview(held)


def _write_head(
    status: int,
    etag: str,
    length: int,
    part: tuple[int, int] | None,
    size_bytes: int,
    kind: str = "text/plain",
) -> bytes:
    shown = {200: "OK", 206: "Partial Content", 404: "Not Found", 416: "Range Not Satisfiable"}
    lines = [
        f"HTTP/1.1 {status} {shown[status]}",
        f"Content-Type: {kind}",
        f"Content-Length: {length}",
        "Accept-Ranges: bytes",
        f"ETag: {etag}",
    ]
    if part is not None:
        lines.append(f"Content-Range: bytes {part[0]}-{part[1] - 1}/{size_bytes}")
    elif status == 416:
        lines.append(f"Content-Range: bytes */{size_bytes}")
    return "\r\n".join([*lines, "", ""]).encode()


def main() -> None:
    """Serve what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m bench.source", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where small originals are")
    parser.add_argument("--mp4", type=int, action="append", default=[], metavar="BYTES")
    parser.add_argument("--jpeg", type=int, default=100 * 1024, metavar="BYTES")
    given = parser.parse_args()
    source = Source(Media(given.folder), given.mp4, given.jpeg)
    listener = socket.create_server((HOST, 0), backlog=1024)
    serving = threading.Thread(target=serve_forever, args=(listener, source.converse), daemon=True)
    serving.start()
    ready = {"port": listener.getsockname()[1], "videos": source.paths}
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
