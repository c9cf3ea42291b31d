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
from pathlib import Path

import pytest

from tests.security.conftest import IdleStack
from tests.support.figures import Figures

SEED = 20261125
SHORT_EXAMPLES, FULL_EXAMPLES = 8, 250
FULL_CASES = 5000
# In its own links only what belongs to an answer; guesses from names take a request's id for a
# file's. A revoked key is shown as revoked: it is not gone.
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "422", "429"]
[phases.stateful.inference]
algorithms = []
[[operations]]
include-operation-id = "revoke_keys"
checks.use_after_free.enabled = false
[dictionaries.files]
values = {files}
[dictionaries.tasks]
values = {tasks}
[parameters]
"path.file_id" = {{ dictionary = "files", probability = 0.5 }}
"path.task_id" = {{ dictionary = "tasks", probability = 0.5 }}
"path.name" = {{ dictionary = "files", probability = 0.5 }}
"""
# Without a worker it says 503, and rightly so.
EXCLUDED = "/readyz"


@pytest.mark.timeout(900)
def test_s7_no_answer_breaks_a_promise_of_the_document(
    idle: IdleStack, tmp_path: Path, security_figures: Figures, *, security_full: bool
) -> None:
    examples = FULL_EXAMPLES if security_full else SHORT_EXAMPLES
    config, report, answers = (tmp_path / name for name in ("st.toml", "st.json", "st.har"))
    config.write_text(CONFIG.format(files=idle.file_ids, tasks=idle.task_ids))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)]
    command += ["run", f"{idle.api.url}/openapi.json", "--checks", "all", "--seed", str(SEED)]
    command += ["--header", f"Authorization: Bearer {idle.api.key}", "--exclude-path", EXCLUDED]
    command += ["--max-examples", str(examples), "--max-redirects", "0", "--report", "json,har"]
    command += ["--report-json-path", str(report), "--report-har-path", str(answers)]
    environ = {**os.environ, "NO_PROXY": "*"}
    done = "Schemathesis with all its checks, in all its phases, on the API's own document"
    with security_figures.row("S7", done) as row:
        run = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )
        assert report.exists(), run.stdout + run.stderr
        found = json.loads(report.read_text())
        cases = found["test_cases"]["generated"]
        row.note("operations tested", found["operations"]["tested"], held=_tests_all(idle, found))
        least = FULL_CASES if security_full else 300
        row.note(f"{least} cases or more", cases, held=cases >= least)
        failures = [f"{one['title']}: {one['operations']}" for one in found["failures"]]
        row.note("no check fails", failures or 0, held=not failures and not found["errors"])
        held = run.returncode == 0 and all(
            phase["status"] == "success" for phase in found["phases"].values()
        )
        row.note("every phase runs to its end", len(found["phases"]), held=held)
        counts = _count_statuses(answers)
        spread = ", ".join(f"{status}: {count}" for status, count in sorted(counts.items()))
        row.note("no answer is a 5xx", spread, held=max(counts) < 500)
        # Refusals alone would show little.
        done_count = sum(count for status, count in counts.items() if status < 400)
        share = done_count / counts.total()
        row.note("a fifth and more of it is done", f"{share:.0%}", held=share >= 0.2)
        if failures:
            pytest.fail(run.stdout)


def _tests_all(idle: IdleStack, found: dict[str, dict[str, int]]) -> bool:
    paths = idle.api.get("/openapi.json").json()["paths"]
    count = sum(len(operations) for path, operations in paths.items() if path != EXCLUDED)
    return found["operations"]["tested"] == count


def _count_statuses(answers: Path) -> Counter[int]:
    entries = json.loads(answers.read_text())["log"]["entries"]
    return Counter(entry["response"]["status"] for entry in entries)
