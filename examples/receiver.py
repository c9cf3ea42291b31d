"""A receiver of webhooks: verifies each delivery, does each event once, and answers at once.

    WEBHOOK_SECRET=whsec_… python examples/receiver.py

Needs `pip install flask standardwebhooks` and nothing of Headrace. Listens on 127.0.0.1:5000, or
where PORT says; RECEIVED names the SQLite file that remembers what was done (receiver.db).
"""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

from flask import Flask, Response, request
from standardwebhooks import Webhook, WebhookVerificationError

_TABLE = "CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, type TEXT, body TEXT)"


def create_app(secret: str, received: Path) -> Flask:
    """Return the receiver.

    Args:
        secret: `whsec_…`, as Headrace showed it.
        received: the file that remembers what was done.
    """
    app = Flask("receiver")
    webhook = Webhook(secret)
    with sqlite3.connect(received) as database:
        database.execute(_TABLE)

    @app.post("/webhooks/headrace")
    def receive() -> Response:
        body = request.get_data()
        try:
            # The body as it came, byte for byte: the signature is over that.
            webhook.verify(body, dict(request.headers))
        except WebhookVerificationError:
            return Response("The signature does not hold.\n", 401)
        # Each event comes at least once, and always under the same id. What it asks for is done in
        # the transaction that notes the id, so it is done once.
        with sqlite3.connect(received) as database:
            event = json.loads(body)
            fresh = database.execute(
                "INSERT OR IGNORE INTO events VALUES (?, ?, ?)",
                (request.headers["webhook-id"], event["type"], body.decode()),
            ).rowcount
            if fresh:
                app.logger.warning("%s %s", event["type"], event["data"]["id"])
        # Answer before anything that takes long: Headrace waits for 15 s, all in all.
        return Response(status=204)

    return app


if __name__ == "__main__":
    create_app(os.environ["WEBHOOK_SECRET"], Path(os.environ.get("RECEIVED", "receiver.db"))).run(
        port=int(os.environ.get("PORT", "5000"))
    )
