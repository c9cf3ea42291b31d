"""The API's client, as far as nothing has to answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cli.client import ApiClient
from cli.problems import Refused

CALLS: dict[str, Callable[[ApiClient, str], object]] = {
    "get a task": ApiClient.get_task,
    "cancel a task": ApiClient.cancel_task,
    "retry a task": ApiClient.retry_task,
    "get a file": ApiClient.get_file,
    "delete a file": ApiClient.delete_file,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize("dots", ["", ".", ".."])
def test_an_id_that_would_lead_elsewhere_is_not_sent(
    call: Callable[[ApiClient, str], object], dots: str
) -> None:
    with ApiClient("http://127.0.0.1:1", "key") as client, pytest.raises(Refused, match="no id"):
        call(client, dots)
