"""S9: no order, whatever its fields hold, breaks the API or lands outside its project's prefix."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Mapping
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cli.local import LocalStack
from storage.objects.s3 import S3ObjectStore
from storage.records.database import Database
from tests.support.api import Api
from tests.support.figures import Figures
from tests.support.origin import Origin, Reply
from tests.support.projects import make_project

pytestmark = pytest.mark.security

SHORT_ORDERS, FULL_ORDERS = 60, 3000
# What has led out of a folder somewhere: dots in any spelling, roots, drives, ends of a string.
_STEPS = [
    "..", ".", "", "/", "\\", "..\\", "\uff0e\uff0e", "\u2025", "\0", "\n", "\r\n", "a\u202eb",
    "\u200b..", " ..", ".. ", "\ufffe", "\U0010ffff", "a" * 300, ".headrace",
]  # fmt: skip
# What only looks like it, and is a name as any other.
_NAMES = [
    "%2e%2e", "%2E%2e%2f", "%252e%252e", "\u2024\u2024", "..;", "~", "C:", "CON", "\u00e9",
    "e\u0301", "other", "*", "?", "#", "...", "a b", "+", "\U0001f39e", "'", '"', "<b>", "$(id)",
]  # fmt: skip
_TEXTS = st.text(max_size=40)
_PATHS = _TEXTS | st.lists(st.sampled_from(_STEPS) | st.text(max_size=5), max_size=6).map("/".join)
_PLAIN = st.lists(st.sampled_from(_NAMES), min_size=1, max_size=4).map("/".join)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXTS,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(_TEXTS, children, max_size=4),
    max_leaves=12,
)


def _spell_urls(prefix: str) -> st.SearchStrategy[str]:
    """Return URLs of one origin that is always there, and text that is no URL."""
    raw = st.tuples(_PATHS, _TEXTS).map(lambda both: f"{prefix}{both[0]}?{both[1]}")
    encoded = _PATHS.map(lambda path: prefix + quote(path.encode(errors="replace")))
    return encoded | encoded | raw | _TEXTS


def _draw_orders(prefix: str, digest: str) -> st.SearchStrategy[Mapping[str, object]]:
    good = st.fixed_dictionaries(
        {"url": _spell_urls(prefix)},
        optional={
            "folder": _PLAIN | _PATHS,
            "filename": st.sampled_from(_NAMES) | _PATHS.map(lambda path: f"{path}.jpg"),
            "ref": st.just("mine") | _TEXTS,
            "metadata": st.dictionaries(_TEXTS, _JSON, max_size=4),
            "headers": st.just({"X-A": "b"}) | st.dictionaries(st.just("X-A") | _TEXTS, _TEXTS),
            "checksum": st.just(f"sha256:{digest}") | st.just("md5:" + "0" * 32) | _TEXTS,
        },
    )
    # Most fields of most orders have their type; of the others, each has any.
    return good | good | st.fixed_dictionaries({"url": _JSON}, optional={"folder": _JSON})


@pytest.mark.timeout(900)
def test_s9_no_order_breaks_the_api_or_lands_outside_its_prefix(
    stack: LocalStack,
    database: Database,
    store: S3ObjectStore,
    origin: Origin,
    picture: bytes,
    security_figures: Figures,
    *,
    security_full: bool,
) -> None:
    count = FULL_ORDERS if security_full else SHORT_ORDERS
    digest = hashlib.sha256(picture).hexdigest()
    source = origin.serve_family("/hostile-orders/", lambda _: Reply(body=picture))
    project, secret = make_project(database)
    own = project.key_prefix
    before = set(store.list_keys(""))
    answers: Counter[int] = Counter()
    expected: set[str] = set()

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_draw_orders(source, digest))
    def order(asked: Mapping[str, object]) -> None:
        answer = api.post("/files", asked)
        answers[answer.status_code] += 1
        if answer.status_code == 201:
            expected.add(_place(own, asked, answer.json()["data"]["id"]))

    with (
        Api(stack.api_url, secret) as api,
        security_figures.row("S9", f"{count} orders made of hostile text") as row,
    ):
        order()
        spread = ", ".join(f"{status}: {number}" for status, number in sorted(answers.items()))
        row.note("no answer is a 5xx", spread, held=max(answers) < 500)
        made = set(store.list_keys("")) - before
        astray = [key for key in made if not key.startswith(f"{own}/")]
        row.note("nothing lands outside its key prefix", astray or 0, held=not astray)
        row.note("each file is where it was asked for", len(made), held=made == expected)
        # What is drawn hangs on the origin's port, too: of sixty, few may be good.
        share, least = ("a tenth and more", count // 10) if security_full else ("some of it", 1)
        row.note(f"{share} is stored", answers[201], held=answers[201] >= least)


def _place(prefix: str, asked: Mapping[str, object], file_id: str) -> str:
    """Return the key that a request asks for: what it says, composed, and no other change."""
    folder = str(asked["folder"]).removesuffix("/") if "folder" in asked else None
    filename = str(asked.get("filename", f"{file_id}.jpg"))
    parts = [part for part in (prefix, folder, filename) if part]
    return unicodedata.normalize("NFC", "/".join(parts))
