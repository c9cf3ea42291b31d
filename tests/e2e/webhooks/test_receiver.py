"""``examples/receiver.py``: what the documentation gives to receivers verifies a real delivery."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import requests

from tests.support.api import Api, read_object
from tests.support.tasks import create_task, wait_for_end
from tests.support.waiting import wait_until

EXAMPLE = Path(__file__).parents[3] / "examples" / "receiver.py"


@contextmanager
def _run(secret: str, port: int, received: Path) -> Iterator[None]:
    environ = {**os.environ, "WEBHOOK_SECRET": secret, "PORT": str(port), "RECEIVED": str(received)}
    with (received.with_suffix(".log")).open("wb") as log:
        process = subprocess.Popen([sys.executable, str(EXAMPLE)], env=environ, stderr=log)
    try:
        wait_until(lambda: _is_open(port), "the receiver", 20)
        yield
    finally:
        process.terminate()
        process.wait(10)


def _is_open(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


def _list_received(received: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(received)) as database:
        return list(database.execute("SELECT id, type FROM events ORDER BY rowid"))


def test_the_example_verifies_real_deliveries_and_does_each_event_once(
    owner: Api, picture_url: str, receiver_port: int, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{receiver_port}/webhooks/headrace"
    body = {"url": url, "topics": ["task.completed"]}
    endpoint = read_object(owner.post("/webhooks/endpoints", body), 201)
    received = tmp_path / "receiver.db"
    with _run(str(endpoint["secret"]), receiver_port, received):
        wait_for_end(owner, create_task(owner, picture_url))
        ((event_id, kind),) = wait_until(lambda: _list_received(received), "a delivery")
        assert kind == "task.completed"
        answer = owner.get(f"/webhooks/deliveries?event_id={event_id}").json()
        (delivery,) = answer["data"]
        wait_until(lambda: _is_delivered(owner, delivery["id"]), "its end")
        read_object(owner.post(f"/webhooks/deliveries/{delivery['id']}/redeliver", {}))
        wait_until(lambda: _is_delivered(owner, delivery["id"]), "its second end")
        assert _list_received(received) == [(event_id, kind)]

        forged = requests.post(url, data=b"{}", headers={"webhook-id": event_id}, timeout=10)
        assert forged.status_code == 401


def _is_delivered(api: Api, delivery_id: str) -> bool:
    return read_object(api.get(f"/webhooks/deliveries/{delivery_id}"))["status"] == "delivered"
