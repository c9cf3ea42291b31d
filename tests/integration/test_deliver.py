"""A sender's way with a delivery, and the dispatcher's: on real servers, with what goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy import update
from standardwebhooks import Webhook

from ingest.config import Settings
from ingest.errors import DatabaseUnavailable, RedisUnavailable
from ingest.model import Project
from ingest.signing import make_secret
from ingest.webhooks import Delivery, DeliveryStatus
from storage.records import deliveries, endpoints, events, sending
from storage.records.database import Database
from storage.records.deliveries import DeliveryFilter
from storage.records.listing import Window
from storage.records.tables import events as events_table
from storage.records.tables import webhook_endpoints as endpoints_table
from storage.sealing import Sealer
from storage.signals import WEBHOOK_QUEUE, Role, Signals
from tests.integration.examples import MakeTask
from tests.support.inbox import TAKEN, Inbox, refuse
from tests.support.origin import Origin, Reply, Stall
from tests.support.waiting import wait_until
from workers.deliver import Deliverer, SenderTools
from workers.dispatch_deliveries import DeliveryDispatcher
from workers.egress import Egress, Policy
from workers.holding import Holding
from workers.metrics import SenderMetrics

POST = frozenset({"POST"})
MakeInbox = Callable[..., Inbox]


@pytest.fixture
def chosen(settings: Settings, origin: Origin) -> Settings:
    """Settings of a sender that lets one origin through, and tries three times without a wait."""
    return settings.model_copy(
        update={
            "webhook_delays_s": "0,0,0",
            "webhook_slots": 4,
            "dispatch_window": 1,
            "resend_after_s": 60.0,
            "secret_keys": (SecretStr(Fernet.generate_key().decode()),),
        }
    )


@pytest.fixture
def tools(chosen: Settings, records: Database, signals: Signals) -> Iterator[SenderTools]:
    """What a sender works with, on the tests' own database."""
    egress = Egress(Policy(2, 2, allowed=chosen.dangerous_allow_addresses))
    holding = Holding(records, signals, sender="sender-1", slots=4, heartbeat_s=0.2)
    yield SenderTools(
        settings=chosen,
        database=records,
        signals=signals,
        egress=egress,
        sealer=Sealer(chosen.secret_keys),
        holding=holding,
        metrics=SenderMetrics(4),
    )
    egress.close()


@pytest.fixture
def dispatcher(records: Database, signals: Signals, chosen: Settings) -> DeliveryDispatcher:
    """A dispatcher that sends ids alone."""
    return DeliveryDispatcher(records, signals, chosen, _send_to(signals))


@pytest.fixture
def make_inbox(
    records: Database, project: Project, tools: SenderTools, origin: Origin
) -> MakeInbox:
    """Makes an endpoint that is told of new tasks; its receiver answers so in turn."""

    def make(*replies: Reply) -> Inbox:
        secret = make_secret()
        url = origin.route(f"/deliver/{secret[6:14].encode().hex()}", *(replies or (TAKEN,)))
        with records.transaction() as connection:
            made = endpoints.create(
                connection,
                project.id,
                url=url,
                topics=["task.created"],
                description=None,
                metadata=None,
                sealed_secret=tools.sealer.seal(secret.encode()),
            )
        return Inbox(origin, url, secret, made.id)

    return make


def _send_to(signals: Signals) -> Callable[[Sequence[str]], None]:
    return partial(signals.put_messages, WEBHOOK_QUEUE)


def _list_queue(signals: Signals) -> list[str]:
    return [str(one) for one in reversed(signals._redis.lrange(WEBHOOK_QUEUE, 0, -1))]


def _list(records: Database, project: Project) -> list[Delivery]:
    """Return all deliveries, the oldest first."""
    with records.transaction() as connection:
        page = deliveries.list_page(connection, project.id, DeliveryFilter(), Window(limit=100))
    return list(reversed(page.items))


def _read(records: Database, project: Project) -> Delivery:
    (found,) = _list(records, project)
    return found


def _list_codes(delivery: Delivery) -> list[str | None]:
    return [None if one.error is None else one.error.code for one in delivery.attempts]


def test_a_delivery_is_sent_signed_and_written_down(
    records: Database,
    project: Project,
    tools: SenderTools,
    make_inbox: MakeInbox,
    make_task: MakeTask,
) -> None:
    inbox = make_inbox()
    task = make_task()
    waiting = _read(records, project)
    Deliverer(tools).deliver(waiting.id)
    (told,) = inbox.list_messages()
    assert (told.id, told.type, told.data["id"]) == (waiting.event_id, "task.created", task.id)
    done = _read(records, project)
    assert (done.status, done.attempt, _list_codes(done)) == (DeliveryStatus.DELIVERED, 1, [None])
    # Late or doubled wake-ups find nothing to do.
    Deliverer(tools).deliver(waiting.id)
    Deliverer(tools).deliver("del_00000000000000000000000000")
    assert len(inbox.list_requests()) == 1


def test_the_timestamp_is_that_of_the_attempt(
    records: Database,
    project: Project,
    tools: SenderTools,
    make_inbox: MakeInbox,
    make_task: MakeTask,
) -> None:
    inbox = make_inbox(refuse(500), TAKEN)
    make_task()
    begun = datetime.now(UTC).replace(microsecond=0)
    moments = iter([begun, begun, begun + timedelta(minutes=2), begun + timedelta(minutes=2)])
    deliverer = Deliverer(tools, now=lambda: next(moments))
    for _ in range(2):
        deliverer.deliver(_read(records, project).id)
    stamps = [int(one.headers["webhook-timestamp"]) for one in inbox.list_requests()]
    assert stamps == [int(begun.timestamp()), int(begun.timestamp()) + 120]
    for one in inbox.list_requests():
        Webhook(inbox.secret).verify(one.body, dict(one.headers))


def test_a_secret_that_cannot_be_opened_is_an_error_of_the_attempt(
    records: Database,
    project: Project,
    tools: SenderTools,
    make_inbox: MakeInbox,
    make_task: MakeTask,
) -> None:
    inbox = make_inbox()
    make_task()
    blind = SenderTools(
        settings=tools.settings,
        database=records,
        signals=tools.signals,
        egress=tools.egress,
        sealer=Sealer([SecretStr(Fernet.generate_key().decode())]),
        holding=tools.holding,
        metrics=tools.metrics,
    )
    Deliverer(blind).deliver(_read(records, project).id)
    found = _read(records, project)
    assert (found.status, _list_codes(found)) == (DeliveryStatus.PENDING, ["secret_unreadable"])
    assert inbox.list_requests() == []


def test_an_old_secret_that_cannot_be_opened_does_not_hold_the_new_one_up(
    records: Database,
    project: Project,
    tools: SenderTools,
    make_inbox: MakeInbox,
    make_task: MakeTask,
) -> None:
    inbox = make_inbox()
    sealed_elsewhere = Sealer([SecretStr(Fernet.generate_key().decode())]).seal(b"whsec_AAAA")
    with records.transaction() as connection:
        connection.execute(
            update(endpoints_table).values(
                sealed_old_secret=sealed_elsewhere,
                old_secret_until=datetime.now(UTC) + timedelta(days=1),
            )
        )
    make_task()
    Deliverer(tools).deliver(_read(records, project).id)
    (told,) = inbox.list_messages()
    assert len(told.request.headers["webhook-signature"].split()) == 1


def test_a_fault_of_our_own_is_written_down_and_tried_again(
    records: Database,
    project: Project,
    tools: SenderTools,
    make_inbox: MakeInbox,
    make_task: MakeTask,
) -> None:
    inbox = make_inbox()
    make_task()
    delivery_id = _read(records, project).id
    with records.transaction() as connection:
        connection.execute(update(events_table).values(snapshot={}))
    Deliverer(tools).deliver(delivery_id)
    found = _read(records, project)
    assert (found.status, _list_codes(found)) == (DeliveryStatus.PENDING, ["internal_error"])
    assert inbox.list_requests() == []


def test_what_a_sender_cannot_finish_goes_back_at_no_attempts_cost(
    records: Database,
    project: Project,
    tools: SenderTools,
    make_inbox: MakeInbox,
    make_task: MakeTask,
) -> None:
    stall = Stall()
    inbox = make_inbox(Reply(status=204, stall=stall, methods=POST), TAKEN)
    make_task()
    delivery_id = _read(records, project).id
    thread = threading.Thread(target=Deliverer(tools).deliver, args=(delivery_id,))
    thread.start()
    assert stall.reached.wait(10)
    assert not tools.holding.hand_back(0.1)
    found = _read(records, project)
    assert (found.status, _list_codes(found)) == (DeliveryStatus.PENDING, ["sender_stopped"])
    stall.released.set()
    thread.join(10)
    # What the thread found out came too late, and changes nothing.
    assert _read(records, project) == found
    assert tools.holding.hand_back(0.1)
    Deliverer(tools).deliver(delivery_id)
    found = _read(records, project)
    assert (found.status, _list_codes(found)) == (
        DeliveryStatus.DELIVERED,
        ["sender_stopped", None],
    )
    assert {one.id for one in inbox.list_messages()} == {found.event_id}


def test_what_a_lost_sender_had_is_swept_and_tried_again(
    records: Database,
    project: Project,
    tools: SenderTools,
    dispatcher: DeliveryDispatcher,
    make_inbox: MakeInbox,
    make_task: MakeTask,
) -> None:
    make_inbox()
    make_task()
    delivery_id = _read(records, project).id
    with records.transaction() as connection:
        assert sending.claim(connection, delivery_id, "sender-lost", -1) is not None
    assert dispatcher.sweep() == 1
    assert dispatcher.sweep() == 0
    Deliverer(tools).deliver(delivery_id)
    assert _list_codes(_read(records, project)) == ["sender_lost", None]


def test_the_window_of_webhooks_is_filled_and_never_over(
    records: Database,
    project: Project,
    signals: Signals,
    dispatcher: DeliveryDispatcher,
    make_inbox: MakeInbox,
    make_task: MakeTask,
) -> None:
    for _ in range(3):
        make_inbox()
    for _ in range(2):
        make_task()
    assert dispatcher.dispatch() == 4
    assert dispatcher.dispatch() == 0
    queued = _list_queue(signals)
    assert len(set(queued)) == 4
    # What Redis has lost is sent again, once nobody has answered for a while.
    signals._redis.delete(WEBHOOK_QUEUE)
    assert dispatcher.dispatch() == 0
    impatient = dispatcher._settings.model_copy(update={"resend_after_s": -1.0})
    again = DeliveryDispatcher(records, signals, impatient, _send_to(signals))
    assert again.dispatch() == 4
    assert len(_list_queue(signals)) == 4


def test_what_redis_does_not_take_is_ready_again(
    records: Database,
    signals: Signals,
    chosen: Settings,
    dispatcher: DeliveryDispatcher,
    make_inbox: MakeInbox,
    make_task: MakeTask,
) -> None:
    make_inbox()
    make_task()

    def refuse_all(_: Sequence[str]) -> None:
        raise RedisUnavailable("It is away.")

    with pytest.raises(RedisUnavailable):
        DeliveryDispatcher(records, signals, chosen, refuse_all).dispatch()
    assert dispatcher.dispatch() == 1


def test_events_are_forgotten_with_their_deliveries_when_their_days_are_over(
    records: Database,
    project: Project,
    signals: Signals,
    chosen: Settings,
    make_inbox: MakeInbox,
    make_task: MakeTask,
) -> None:
    make_inbox()
    make_task()

    def prune(days: float) -> int:
        now = datetime.now(UTC) + timedelta(days=days)
        return DeliveryDispatcher(
            records, signals, chosen, _send_to(signals), now=lambda: now
        ).prune()

    assert prune(29.9) == 0
    assert len(_list(records, project)) == 1
    assert prune(30.1) == 1
    assert _list(records, project) == []
    with records.transaction() as connection:
        assert events.list_page(connection, project.id, Window()).total == 0


def test_a_sender_gives_signs_of_life_and_signs_off(signals: Signals, records: Database) -> None:
    holding = Holding(records, signals, sender="sender-1", slots=4, heartbeat_s=0.05)
    holding.start()
    wait_until(lambda: list(signals.list_workers(Role.SENDER)) == ["sender-1"], "a sign of life")
    assert signals.count_slots(Role.SENDER) == 4
    assert (list(signals.list_workers()), signals.count_slots()) == ([], 0)
    holding.stop()
    assert signals.list_workers(Role.SENDER) == []


def test_without_a_database_nothing_is_claimed(tools: SenderTools, closed_port: int) -> None:
    gone = Database(f"postgresql+psycopg://nobody@127.0.0.1:{closed_port}/none")
    blind = SenderTools(
        settings=tools.settings,
        database=gone,
        signals=tools.signals,
        egress=tools.egress,
        sealer=tools.sealer,
        holding=tools.holding,
        metrics=tools.metrics,
    )
    with pytest.raises(DatabaseUnavailable):
        Deliverer(blind).deliver("del_00000000000000000000000000")
    gone.close()
