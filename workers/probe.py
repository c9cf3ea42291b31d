"""ffprobe on what was fetched, and a look at one frame, in processes of their own under limits.

A host (:mod:`workers.probe_hosts`) is bounded in address space, CPU, file size and wall clock, and
has no environment. ffprobe is given one demuxer, the one of the sniffed format, and only the
protocol its input needs, so that nothing inside a file can make it open anything else. Out of a
host nothing of the worker can be read, and a file that is handed over is read by a host without
network. A presigned URL is handed over as well: everybody on the machine may read what stands
among a process's arguments.

A frame that cannot be had never fails a probe.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from ingest.errors import InternalError, ProbeFailed
from ingest.formats import AVIF, HEIC, Format, Kind
from ingest.logs import get_logger
from ingest.model import JsonObject, MediaInfo
from workers.codec_strings import find_private_data_wanted
from workers.ffprobe import find_ffprobe
from workers.frames import Frame
from workers.looking import Looker, find_ffmpegs
from workers.mediainfo import Described, describe
from workers.probe_host import HostLimits, Programs
from workers.probe_hosts import Duty, HostPool, hold_in_memory

# Where ffmpeg-python wants the input's name: an option that changes nothing.
_NO_ADDRESS = "-hide_banner"
# Demuxers that go back over what is broken, and would ask the store anew each time.
_GO_BACK = frozenset({"ogg"})


@dataclass(frozen=True, slots=True)
class ProbeLimits:
    """Bounds of one probe; see the settings of the same names."""

    timeout_s: float
    memory_bytes: int
    max_pixels: int


@dataclass(frozen=True, slots=True)
class Probed:
    """What is known of a file, and a JPEG of it where one was wanted and could be had."""

    media: MediaInfo
    poster: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Input:
    """How a file comes to ffprobe: at an address, by a descriptor, by which protocols."""

    address: str
    fd: int | None
    protocols: str
    more: Mapping[str, str | int]

    @property
    def offline(self) -> bool:
        return self.protocols == "fd"


class Prober:
    """Runs probes; safe to share between threads.

    Args:
        ffprobe_path: a path, or a name to find on PATH.
        limits: bounds of each probe.
        ffmpeg_paths: the same of the ffmpegs that decode frames, of which the first does that can.
        placeholders: whether files get one.

    Attributes:
        frames_lack: why files, or some, get no placeholder here; None where all may.

    Raises:
        ConfigError: there is no ffprobe there, or it is older than 6.1.
    """

    def __init__(
        self,
        ffprobe_path: str,
        limits: ProbeLimits,
        ffmpeg_paths: Sequence[str] = (),
        *,
        placeholders: bool = True,
    ) -> None:
        self._ffprobe = find_ffprobe(ffprobe_path)
        ffmpegs, self.frames_lack = find_ffmpegs(ffmpeg_paths)
        self._limits = limits
        self._placeholders = placeholders
        self._hosts = HostPool(
            Programs(self._ffprobe.path, tuple(one.path for one in ffmpegs)),
            HostLimits(limits.timeout_s, limits.memory_bytes),
        )
        self._looker = Looker(ffmpegs, self._hosts, limits.max_pixels)

    @property
    def shortcomings(self) -> Mapping[str, str]:
        """What of the sandbox is not to be had here, and why; known once something was probed."""
        found = {}
        if self._hosts.refused is not None:
            found["network"] = self._hosts.refused
        if not self._ffprobe.takes_files:
            found["arguments"] = "this ffprobe reads no option from a file"
        return found

    def probe_bytes(
        self,
        content: bytes | bytearray | memoryview,
        sniffed: Format,
        project_id: str,
        *,
        poster: bool = False,
    ) -> Probed:
        """Probe a file that is in memory whole.

        Args:
            project_id: whose it is; no process that has decoded another's decodes it.
            poster: whether it is to have one.

        Raises:
            ProbeFailed: ffprobe could not read it as what it looked like, or not within limits.
        """
        with hold_in_memory(content) as fd, memoryview(content) as view:
            found = _Input("fd:", fd, "fd", {})
            described = self._describe(found, sniffed, view, is_whole=True)
            media, shown, drawn = described.media, described.picture, None
            if shown is not None and self._placeholders:
                media = _show(media, self._looker.look_at_file(shown, sniffed, fd, project_id))
            shown = shown or described.cover
            if shown is not None and poster:
                drawn = self._looker.draw_file(shown, sniffed, fd, project_id)
            return Probed(media, drawn)

    def probe_url(self, url: str, sniffed: Format, head: bytes, *, poster: bool = False) -> Probed:
        """Probe a stored object through a presigned URL of our own store.

        Args:
            head: its first bytes.
            poster: whether it is to have one.

        Raises:
            ProbeFailed: as for :meth:`probe_bytes`.
        """
        protocols = "https,tls,tcp" if url.startswith("https:") else "http,tcp"
        # A program whose host was killed has nobody to end it while it waits for an answer.
        wait_us = int(self._limits.timeout_s * 1_000_000)
        more: dict[str, str | int] = {"rw_timeout": wait_us}
        if sniffed.demuxer in _GO_BACK and self._ffprobe.reads_ahead:
            url, protocols = f"async:{url}", f"async,{protocols}"
        if self._ffprobe.takes_files:
            more["/i"] = "/dev/stdin"
            with hold_in_memory(url.encode()) as fd:
                given = _Input(_NO_ADDRESS, fd, protocols, more)
                described = self._describe(given, sniffed, memoryview(head), is_whole=False)
        else:
            given = _Input(url, None, protocols, more)
            described = self._describe(given, sniffed, memoryview(head), is_whole=False)
        media, shown, drawn = described.media, described.picture, None
        if shown is not None and self._placeholders:
            frame = self._looker.look_at_address(shown, sniffed, url, protocols, wait_us)
            media = _show(media, frame)
        shown = shown or described.cover
        if shown is not None and poster:
            drawn = self._looker.draw_address(shown, sniffed, url, protocols, wait_us)
        return Probed(media, drawn)

    def close(self) -> None:
        """End the hosts that are idle; those at work end with their probes."""
        self._hosts.close()

    def _describe(
        self, given: _Input, sniffed: Format, head: memoryview, *, is_whole: bool
    ) -> Described:
        options: dict[str, str | int | None] = {"show_chapters": None}
        if sniffed.kind is Kind.IMAGE:
            # How many frames an image has is told by its packets alone.
            options["count_packets"] = None
        if sniffed in {AVIF, HEIC} and self._ffprobe.knows_groups:
            options["show_stream_groups"] = None
        found = self._probe(given, sniffed, options)
        private: dict[int, str] = {}
        wanted = find_private_data_wanted(found)
        if wanted is not None:
            with suppress(ProbeFailed):
                private[wanted] = self._read_private_data(given, sniffed, wanted)
        return describe(found, sniffed, head, is_whole=is_whole, private=private)

    def _read_private_data(self, given: _Input, sniffed: Format, stream: int) -> str:
        found = self._probe(given, sniffed, {"select_streams": stream, "show_data": None})
        streams = found.get("streams")
        first = streams[0] if isinstance(streams, list) and streams else {}
        dumped = first.get("extradata") if isinstance(first, dict) else None
        return dumped if isinstance(dumped, str) else ""

    def _probe(
        self, given: _Input, sniffed: Format, more: Mapping[str, str | int | None]
    ) -> JsonObject:
        options: dict[str, str | int | None] = {
            "v": "error",
            "f": sniffed.demuxer,
            "format_whitelist": sniffed.demuxer,
            "protocol_whitelist": given.protocols,
            "max_pixels": self._limits.max_pixels,
            "threads": 1,
            **more,
            **given.more,
        }
        if given.fd is not None:
            os.lseek(given.fd, 0, os.SEEK_SET)
        order = {"address": given.address, "options": options}
        answer = self._hosts.ask(order, given.fd, Duty(offline=given.offline))
        return _read_answer(answer, self._limits)


def _show(media: MediaInfo, frame: Frame | None) -> MediaInfo:
    if frame is None:
        return media
    unsaid = media.transparency is None
    return replace(
        media,
        placeholder=frame.placeholder,
        background=frame.background,
        transparency=frame.transparent if unsaid else media.transparency,
    )


def _read_answer(answer: bytes | None, limits: ProbeLimits) -> JsonObject:
    if answer is None:
        raise ProbeFailed("The probe was killed at its limits of time or memory.")
    said = json.loads(answer)
    if "probe" in said and isinstance(said["probe"], dict):
        return said["probe"]
    if "timeout" in said:
        raise ProbeFailed(f"ffprobe took longer than {limits.timeout_s:g} s.")
    text = str(said.get("refused", ""))
    reason = text.splitlines()[-1].rstrip(". ") if text else "it does not say why"
    raise ProbeFailed(f"ffprobe could not read the file: {reason}.")


def build_prober(
    ffprobe_path: str,
    limits: ProbeLimits,
    ffmpeg_paths: Sequence[str] = (),
    *,
    placeholders: bool = True,
) -> Prober:
    """Return a prober whose fork server is warm, by letting it probe nothing at all.

    What its sandbox lacks here is logged once, and so is what keeps files from placeholders.
    """
    prober = Prober(ffprobe_path, limits, ffmpeg_paths, placeholders=placeholders)
    with suppress(ProbeFailed, InternalError):
        prober.probe_bytes(b"", _WARM_UP, "")
    log = get_logger(__name__)
    for lacking, reason in prober.shortcomings.items():
        log.warning("probe.sandbox_lacks", lacking=lacking, reason=reason)
    if prober.frames_lack is not None and placeholders:
        log.warning("probe.placeholders_lack", reason=prober.frames_lack)
    return prober


_WARM_UP = Format("warm-up", Kind.AUDIO, "audio/wav", "wav", "wav")
