"""What lies idle: given out while it can be used, closed where it cannot or is too many."""

from __future__ import annotations

from storage.http1.connection import Connection
from storage.http1.pool import Pool
from tests.integration.http1.conftest import Join
from tests.unit.workers.test_leases import Clock


def _is_open(connection: Connection) -> bool:
    return connection.socket.fileno() != -1


def test_the_one_that_served_last_is_given_out_first(join: Join) -> None:
    pool = Pool(2)
    first, second = join()[0], join()[0]
    assert pool.take("a") is None
    pool.give("a", first)
    pool.give("a", second)
    assert [pool.take("a"), pool.take("a"), pool.take("a")] == [second, first, None]


def test_one_whose_server_has_gone_or_speaks_unasked_is_closed(join: Join) -> None:
    pool = Pool(3)
    (good, _), (gone, their_gone), (loud, their_loud) = join(), join(), join()
    assert pool.take("a") is None
    for one in (good, gone, loud):
        pool.give("a", one)
    their_gone.close()
    their_loud.sendall(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert pool.take("a") is good
    assert [_is_open(one) for one in (good, gone, loud)] == [True, False, False]


def test_no_more_are_kept_than_there_is_room_for(join: Join) -> None:
    pool = Pool(1, most_servers=2)
    kept, too_many, other = join()[0], join()[0], join()[0]
    assert pool.take("a") is None
    pool.give("a", kept)
    pool.give("a", too_many)
    assert not _is_open(too_many)
    assert pool.take("b") is None
    pool.give("b", other)
    assert pool.take("c") is None
    assert [_is_open(one) for one in (kept, other)] == [False, True]


def test_what_is_given_back_to_a_server_that_was_pushed_out_is_closed(join: Join) -> None:
    pool = Pool(1)
    used = join()[0]
    assert pool.take("a") is None
    assert pool.take("b") is None
    pool.give("a", used)
    assert not _is_open(used)


def test_closing_closes_what_is_idle_and_what_comes_back_later(join: Join) -> None:
    pool = Pool(2)
    idle, used = join()[0], join()[0]
    assert pool.take("a") is None
    pool.give("a", idle)
    pool.close()
    pool.give("a", used)
    assert [_is_open(one) for one in (idle, used)] == [False, False]


def test_a_pool_that_nobody_has_any_more_leaves_none_open(join: Join) -> None:
    pool = Pool(2)
    idle = join()[0]
    assert pool.take("a") is None
    pool.give("a", idle)
    del pool
    assert not _is_open(idle)


def test_one_that_lay_idle_for_long_is_closed(join: Join) -> None:
    clock = Clock()
    pool = Pool(2, clock=clock)
    first, second = join()[0], join()[0]
    assert pool.take("a") is None
    pool.give("a", first)
    clock.now += 20
    pool.give("a", second)
    clock.now += 11
    assert pool.take("a") is second
    assert pool.take("a") is None
    assert not _is_open(first)


def test_a_closed_pool_keeps_nothing_any_more(join: Join) -> None:
    pool = Pool(2)
    used = join()[0]
    pool.close()
    assert pool.take("a") is None
    pool.give("a", used)
    assert not _is_open(used)
