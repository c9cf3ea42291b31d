"""The API of a local stack, as somebody with a key uses it, and its processes from outside."""

from __future__ import annotations

import time
from typing import Any

import psutil
import requests

from cli.local import LocalStack

# Where nothing answers: what is measured is the asking.
NOWHERE = "https://nowhere.invalid"
_TIMEOUT_S = 120.0
_PATIENCE_S = 600.0
_POLL_S = 0.25


class Client:
    """Asks, and waits for what was asked for.

    Attributes:
        stack: whose API it asks.
    """

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {stack.api_key}"

    def get(self, path: str) -> Any:  # JSON
        """Return the data of an answer."""
        return self._read(self._session.get(self.stack.api_url + path, timeout=_TIMEOUT_S))

    def post(self, path: str, body: bytes = b"", content_type: str = "application/json") -> Any:
        """Send a body; return the data of the answer."""
        headers = {"Content-Type": content_type} if body else {}
        url = self.stack.api_url + path
        return self._read(self._session.post(url, data=body, headers=headers, timeout=_TIMEOUT_S))

    def end_batch(self, batch_id: str) -> Any:
        """Wait until all tasks of a batch have ended; return it.

        Raises:
            RuntimeError: they did not.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            batch = self.get(f"/batches/{batch_id}")
            if batch["finished"] is not None:
                return batch
            time.sleep(_POLL_S)
        raise RuntimeError(f"the batch did not end in {_PATIENCE_S:g} s")

    def list_processes(self) -> list[int]:
        """Return the API's processes."""
        parent = psutil.Process(self.stack.processes["api"])
        return [parent.pid, *(child.pid for child in parent.children())]

    @staticmethod
    def _read(answer: requests.Response) -> Any:
        answer.raise_for_status()
        return answer.json()["data"]
