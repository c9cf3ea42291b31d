"""S7: the API keeps every promise of its own OpenAPI document, whatever is made from it.

Schemathesis reads the document, makes requests that keep to it and requests that do not, follows
its links from what was made to what can be done with it, and judges each answer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.security.conftest import IdleStack
from tests.support.figures import Figures

pytestmark = pytest.mark.security

SEED = 20261125
SHORT_EXAMPLES, FULL_EXAMPLES = 4, 250
SHORT_CASES, FULL_CASES = 300, 5000
# What guesses links from names takes a request's id for a file's, so there are ours alone.
CONFIG = """
hooks = "{hooks}"
# A task that waits has told all there is with its first.
max-stream-events = 1
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "422", "429"]
[phases.stateful.inference]
algorithms = []
[dictionaries.files]
values = {files}
[dictionaries.tasks]
values = {tasks}
[parameters]
"path.file_id" = {{ dictionary = "files", probability = 0.5 }}
"path.task_id" = {{ dictionary = "tasks", probability = 0.5 }}
"path.name" = {{ dictionary = "files", probability = 0.5 }}
"""
# It knows no lists of a JSON object a line; what it makes up for them is text like any other.
HOOKS = """
import schemathesis

kinds = ["application/x-ndjson", "application/ndjson", "application/jsonl",
         "application/x-jsonlines"]
schemathesis.serializer.alias(kinds, "text/plain")
"""
# Without a worker it says 503, and rightly so.
EXCLUDED = "/readyz"


# Every operation is in one of them. A revoked key is still shown, as a revoked one: it is not gone.
RUNS = [
    ["--exclude-tag", "Keys", "--checks", "all"],
    ["--include-tag", "Keys", "--checks", "all", "--exclude-checks", "use_after_free"],
]


@dataclass(frozen=True, slots=True)
class Run:
    """What Schemathesis says of a run, and what the API answered to it."""

    report: Mapping[str, Any]
    statuses: Counter[int]

    @property
    def failures(self) -> list[str]:
        """What did not hold; whatever kept the run from its end, too."""
        found = [f"{one['title']}: {one['operations']}" for one in self.report["failures"]]
        found += [str(error) for error in self.report["errors"]]
        phases = self.report["phases"].items()
        return found + [f"{name}: {one}" for name, one in phases if one["status"] != "success"]


@pytest.mark.timeout(900)
def test_s7_no_answer_breaks_a_promise_of_the_document(
    idle: IdleStack, tmp_path: Path, security_figures: Figures, *, security_full: bool
) -> None:
    examples = FULL_EXAMPLES if security_full else SHORT_EXAMPLES
    least = FULL_CASES if security_full else SHORT_CASES
    paths = idle.api.get("/openapi.json").json()["paths"]
    operations = sum(len(found) for path, found in paths.items() if path != EXCLUDED)
    done = "Schemathesis with all its checks, in all its phases, on the API's own document"
    with security_figures.row("S7", done) as row:
        runs = [_run(idle, tmp_path / str(n), asked, examples) for n, asked in enumerate(RUNS)]
        tested = sum(run.report["operations"]["tested"] for run in runs)
        row.note(f"all {operations} operations are tested", tested, held=tested == operations)
        cases = sum(run.report["test_cases"]["generated"] for run in runs)
        row.note(f"{least} cases or more", cases, held=cases >= least)
        failures = [failure for run in runs for failure in run.failures]
        row.note("no check fails, each phase runs to its end", failures or 0, held=not failures)
        statuses = runs[0].statuses + runs[1].statuses
        spread = ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))
        row.note("no answer is a 5xx", spread, held=max(statuses) < 500)
        # Refusals alone would show little.
        share = sum(statuses[one] for one in statuses if one < 400) / statuses.total()
        row.note("15 % and more of it is done", f"{share:.0%}", held=share >= 0.15)


def _run(idle: IdleStack, folder: Path, chosen: Sequence[str], examples: int) -> Run:
    folder.mkdir()
    config, report, answers = (folder / name for name in ("st.toml", "st.json", "st.har"))
    hooks = folder / "headrace_hooks.py"
    hooks.write_text(HOOKS)
    config.write_text(CONFIG.format(hooks=hooks, files=idle.file_ids, tasks=idle.task_ids))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)]
    command += ["run", f"{idle.api.url}/openapi.json", *chosen, "--seed", str(SEED)]
    command += ["--header", f"Authorization: Bearer {idle.api.key}", "--exclude-path", EXCLUDED]
    command += ["--max-examples", str(examples), "--max-redirects", "0", "--report", "json,har"]
    command += ["--report-json-path", str(report), "--report-har-path", str(answers)]
    environ = {**os.environ, "NO_PROXY": "*"}
    run = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    # pytest shows it where the test fails.
    sys.stdout.write(run.stdout + run.stderr)
    entries = json.loads(answers.read_text())["log"]["entries"]
    statuses = Counter(int(entry["response"]["status"]) for entry in entries)
    return Run(json.loads(report.read_text()), statuses)
