"""What every row of the benchmark stands on: files, servers, peers, and a place to say things."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.media import Media
from bench.processes import LineProcess
from bench.python_peer import PythonPeer
from bench.rounds import Run
from bench.store import Store, describe_sink
from bench.wire import HOST

MIB = 1024 * 1024
GIB = 1024 * MIB
JPEG_BYTES = 100 * 1024


@dataclass(frozen=True, slots=True)
class Bed:
    """One run of the benchmark.

    Attributes:
        folder: for logs and the data of servers; removed in the end.
        rounds: how many the caller wants, or None for as many as each row thinks right.
        say: takes one line for a person.
        notes: what has to be read beside the table.
    """

    folder: Path
    media: Media
    rounds: int | None
    say: Callable[[str], None]
    notes: list[str] = field(default_factory=list)

    def pick_rounds(self, usual: int) -> int:
        """Return how many rounds are measured."""
        return usual if self.rounds is None else self.rounds

    @contextmanager
    def open_source(self, *mp4_bytes: int, jpeg_bytes: int = JPEG_BYTES) -> Iterator[LineProcess]:
        """Serve videos of these sizes, and pictures of one."""
        arguments = ["--folder", str(self.folder), "--jpeg", str(jpeg_bytes)]
        for size in mp4_bytes:
            arguments += ["--mp4", str(size)]
        with LineProcess("bench.source", arguments) as source:
            yield source

    @contextmanager
    def open_sink(self, *, verify: bool = False) -> Iterator[Store]:
        """Run a sink; it hashes what arrives if it is to verify, and is slow then."""
        with LineProcess("bench.sink", ["--verify"] if verify else []) as sink:
            yield describe_sink(sink)

    @contextmanager
    def open_python_peers(
        self, names: Sequence[str], source_port: int, store: Store
    ) -> Iterator[dict[str, PythonPeer]]:
        """Run peers that are written in Python, by name."""
        with ExitStack() as held:
            yield {
                name: held.enter_context(
                    PythonPeer(name, f"{HOST}:{source_port}", store, self.log(name))
                )
                for name in names
            }

    @contextmanager
    def open_slotted_peers(
        self, name: str, slots: Sequence[int], source_port: int, store: Store
    ) -> Iterator[dict[str, PythonPeer]]:
        """Run a peer that is written in Python several times, by how much each does at once."""
        with ExitStack() as held:
            yield {
                str(count): held.enter_context(
                    PythonPeer(
                        name, f"{HOST}:{source_port}", store, self.log(f"{name}-{count}"), count
                    )
                )
                for count in slots
            }

    def log(self, name: str) -> Path:
        """Return where a process logs."""
        return self.folder / f"{name}.log"

    def check_hashes(self, store: Store, expected: Mapping[str, str], who: str) -> None:
        """Compare what is stored with what the source has.

        Args:
            expected: the sha256 in hex by key.

        Raises:
            RuntimeError: something else arrived; no figure is worth anything then.
        """
        found = store.hash_objects(expected)
        wrong = [key for key, sha256 in expected.items() if found[key] != sha256]
        if wrong:
            raise RuntimeError(f"{who} stored {len(wrong)} files wrongly, such as {wrong[0]}")
        self.say(f"  verified: sha256 of {len(expected)} stored by {who}")


def show_runs(runs: Sequence[Run]) -> str:
    """Return the times of some runs for a person."""
    return ", ".join(f"{run.elapsed_s:.2f}" for run in runs) + " s"
