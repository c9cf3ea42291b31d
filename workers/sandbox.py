"""What a process that reads hostile media gives up for good: environment, new rights, network.

Linux alone has these; elsewhere, and where a container's rules forbid it, the process goes on
without and says why. Through ctypes, since Python has ``unshare`` only from 3.12 on and ``prctl``
not at all. Imported by the probe's fork server, so it imports next to nothing.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

# linux/prctl.h, linux/capability.h and linux/sched.h.
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000


def erase_environ() -> None:
    """Overwrite the environment that this process, or the one it is a fork of, was executed with.

    The kernel shows that memory to the user's other processes (proc_pid_environ(5)) whatever was
    forgotten since. To be called when nothing refers to it any more.
    """
    with suppress(OSError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        # Fields 50 and 51, env_start and env_end, of proc_pid_stat(5); the third is the first here.
        start, end = int(fields[47]), int(fields[48])
        ctypes.memset(start, 0, end - start)


def refuse_new_rights() -> None:
    """Let no program that is executed from here on have more rights than it has (prctl(2))."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def leave_worker(*, network: bool, hidden: str | None = None) -> str | None:
    """Enter a user namespace of this process's own, and a network namespace with nothing in it.

    An ordinary user may make both. Nobody is mapped into the first, so what is executed there has
    no capability in it, and the kernel shows it neither memory nor environment of what is outside
    (ptrace(2), access mode checking). Who makes it has all of them in it, and gives them up: they
    open much of the kernel. They also kept what it runs from reading it, so that is forbidden by
    itself. What is open already stays open (unshare(2)).

    Args:
        network: whether it keeps the network it has.
        hidden: a directory that is empty from here on, for this process and all that it starts.

    Returns:
        None, or why that was refused.
    """
    if sys.platform != "linux":
        return f"{sys.platform} has no namespaces"
    libc = ctypes.CDLL(None, use_errno=True)
    flags = 0 if network else _CLONE_NEWNET
    if libc.unshare(_CLONE_NEWUSER | flags) == 0:
        refused = None if hidden is None else _hide(libc, hidden)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        _drop_capabilities(libc)
        return refused
    refused = os.strerror(ctypes.get_errno())
    # Who may do so without a user namespace may where there is none to be had.
    return None if flags and libc.unshare(flags) == 0 else refused


def _hide(libc: ctypes.CDLL, directory: str) -> str | None:
    """Lay an empty file system over a directory; return why that was refused, if it was."""
    # Nothing of it reaches the mounts outside (mount_namespaces(7), on user namespaces).
    if libc.unshare(_CLONE_NEWNS) == 0:
        there = os.fsencode(directory)
        if libc.mount(b"none", there, b"tmpfs", 0, b"size=4k") == 0:
            return None
    return f"{directory} cannot be hidden: {os.strerror(ctypes.get_errno())}"


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    # Two times effective, permitted and inheritable, of 32 each; of this thread, the only one.
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "capset")
