"""What an operation is called, by its method and its path, so that generated clients read well.

``GET /files`` is ``list_files``, ``POST /tasks/{task_id}/cancel`` is ``cancel_task``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_VERBS: Mapping[str, str] = {
    "get": "get",
    "put": "put",
    "patch": "update",
    "delete": "delete",
}
_SINGULARS: Mapping[str, str] = {"batches": "batch", "deliveries": "delivery", "media": "media"}
# What is done, and is no noun to be made.
_ACTIONS = frozenset(
    {"cancel", "pause", "redeliver", "replay", "resume", "retry", "rotate", "test"}
)


def name_operation(method: str, path: str, *, is_list: bool) -> str:
    """Return an operation's id.

    Args:
        method: in lower case.
        path: as it stands in the document, ``/files/{file_id}``.
        is_list: whether it answers with a list.
    """
    parts = [part for part in path.split("/") if part]
    nouns = [part.replace(".", "_") for part in parts if not part.startswith("{")]
    if method == "get" and is_list:
        return f"list_{_join(nouns[:-1])}{nouns[-1]}"
    if method == "post" and nouns[-1] in _ACTIONS:
        return f"{nouns[-1]}_{_join(nouns[:-1]).removesuffix('_')}"
    last = nouns[-1]
    if parts[-1].startswith("{") or method == "post":
        last = _singularize(last)
    return f"{_VERBS.get(method, 'create')}_{_join(nouns[:-1])}{last}"


def _join(nouns: Sequence[str]) -> str:
    return "".join(f"{_singularize(noun)}_" for noun in nouns)


def _singularize(noun: str) -> str:
    return _SINGULARS.get(noun) or noun.removesuffix("s")
