"""How many connections a source is worth, told by its rates alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from workers.ramp import Ramp

MIB = 1024 * 1024


class Simulation:
    """A source that gives what ``find_rate`` says to so many connections, look by look."""

    def __init__(self, find_rate: Callable[[int], float], most: int = 12) -> None:
        self.now, self.received = 0.0, 0.0
        self.most = most
        self.find_rate = find_rate
        self.asked = 0
        self.during_asking: Callable[[], None] = lambda: None
        self.ramp = Ramp(0.0, find_rate(1), self._find_most)
        self.targets = [self.ramp.target]
        self.wanted_at: list[float] = []
        self.closed = 0

    def run(self, seconds: float, delivers_after_s: float = 0.04) -> int:
        """Go on for so long; return the target in the end.

        Args:
            delivers_after_s: when a connection gives its first byte, from when it is wanted.
        """
        for _ in range(round(seconds / 0.02)):
            self.now += 0.02
            while len(self.wanted_at) < self.ramp.target:
                self.wanted_at.append(self.now)
            while len(self.wanted_at) > self.ramp.target:
                self.wanted_at.pop(0)
                self.closed += 1
            delivering = sum(self.now - one >= delivers_after_s for one in self.wanted_at)
            self.received += self.find_rate(delivering) * 0.02
            if self.ramp.is_due(self.now):
                self.ramp.ask(self.now)
            self.ramp.look(self.now, round(self.received), self.closed + delivering)
            if self.targets[-1] != self.ramp.target:
                self.targets.append(self.ramp.target)
        return self.ramp.target

    def _find_most(self) -> int:
        self.asked += 1
        self.during_asking()
        return self.most


def test_a_source_that_is_slow_on_each_connection_gets_all_that_are_allowed() -> None:
    source = Simulation(lambda count: count * 20 * MIB)
    assert source.run(1) == 12
    assert source.targets == [1, 4, 12]


def test_a_source_whose_line_is_full_is_left_with_one() -> None:
    source = Simulation(lambda _: 100.0 * MIB)
    assert source.run(1) == 1
    assert source.run(10) == 1


def test_a_source_that_gives_a_little_more_keeps_them_and_gets_no_more() -> None:
    source = Simulation(lambda count: min(count, 2) * 20.0 * MIB)
    assert source.run(10) == 4


def test_a_source_that_gives_no_more_at_the_second_step_goes_back_one() -> None:
    source = Simulation(lambda count: min(count, 4) * 20.0 * MIB)
    assert source.run(10) == 4
    assert source.targets == [1, 4, 12, 4]


def test_connections_that_do_not_deliver_are_given_up_in_the_end() -> None:
    source = Simulation(lambda count: count * 20.0 * MIB)
    assert source.run(2.9, delivers_after_s=60) == 4
    assert source.run(0.3, delivers_after_s=60) == 1


def test_a_source_that_is_far_away_is_measured_for_longer() -> None:
    source = Simulation(lambda count: count * 20.0 * MIB)
    source.run(1.2, delivers_after_s=0.6)
    assert source.targets == [1, 4]
    assert source.run(3, delivers_after_s=0.6) == 12


@pytest.mark.parametrize(("before", "after"), [(12, 6), (4, 2), (1, 1)])
def test_a_source_that_refuses_has_half_as_many_for_good(before: int, after: int) -> None:
    source = Simulation(lambda count: count * 20.0 * MIB, most=before)
    assert source.run(2) == before
    source.ramp.slow_down(source.ramp.target)
    assert source.run(10) == after


@pytest.mark.parametrize("asking", [1, 2, 3, 4])
def test_a_refusal_while_the_database_is_asked_is_not_lost(asking: int) -> None:
    source = Simulation(lambda count: count * 20.0 * MIB)

    def refuse() -> None:
        if source.asked == asking:
            before = source.ramp.target
            source.ramp.slow_down(source.ramp.target)
            halved.append(max(1, before // 2))

    halved: list[int] = []
    source.during_asking = refuse
    assert [source.run(10)] == halved
    assert source.run(10) == halved[0]
    source.ramp.slow_down(source.ramp.target)
    assert source.run(10) == max(1, halved[0] // 2)


def test_what_many_are_told_at_once_halves_their_number_once() -> None:
    source = Simulation(lambda count: count * 20.0 * MIB)
    assert source.run(2) == 12
    for _ in range(6):
        source.ramp.slow_down(12)
    assert source.run(10) == 6
    source.ramp.slow_down(6)
    assert source.run(10) == 3


def test_a_refusal_halves_what_there_is_and_not_what_is_wanted() -> None:
    source = Simulation(lambda count: count * 20.0 * MIB, most=5)
    assert source.run(1) == 5
    source.ramp.slow_down(source.ramp.target)
    assert source.run(3) == 2
    source.most = 12
    assert source.run(10) == 2


def test_never_more_than_are_allowed_now() -> None:
    source = Simulation(lambda count: count * 20.0 * MIB, most=3)
    assert source.run(1) == 3
    source.most = 1
    assert source.run(3) == 1


def test_a_most_of_none_still_leaves_the_one_there_is() -> None:
    assert Simulation(lambda count: count * 20.0 * MIB, most=0).run(3) == 1


def test_what_was_not_allowed_for_a_moment_is_there_again_at_the_next_asking() -> None:
    source = Simulation(lambda count: count * 20.0 * MIB)
    assert source.run(1) == 12
    source.most = 1
    assert source.run(2.1) == 1
    source.most = 12
    assert source.run(2.1) == 12


def test_what_is_allowed_later_is_tried_later() -> None:
    source = Simulation(lambda count: count * 20.0 * MIB, most=1)
    assert source.run(5) == 1
    source.most = 6
    assert source.run(3) == 6


def test_what_is_allowed_later_is_not_tried_where_more_brought_nothing() -> None:
    source = Simulation(lambda count: min(count, 4) * 20.0 * MIB, most=4)
    assert source.run(3) == 4
    source.most = 12
    assert source.run(10) == 4


def test_a_number_that_changes_while_it_is_measured_is_measured_anew() -> None:
    source = Simulation(lambda count: count * 20.0 * MIB)
    source.run(0.15)
    assert source.ramp.target == 4
    source.most = 2
    source.ramp.ask(source.now)
    assert source.run(0.1) == 2
    source.most = 12
    assert source.run(4) == 12


def test_an_answer_that_tarries_holds_nothing_up() -> None:
    ramp = Ramp(0.0, 20.0 * MIB, lambda: 12)
    for step in range(1, 500):
        ramp.look(step * 0.02, step * MIB, 1)
    assert ramp.is_due(10.0)
    assert ramp.target == 1
    ramp.ask(10.0)
    assert not ramp.is_due(11.9)
    ramp.look(10.0, 500 * MIB, 1)
    assert ramp.target == 4


def test_an_error_of_the_asking_is_told() -> None:
    def fail() -> int:
        raise LookupError

    with pytest.raises(LookupError):
        Ramp(0.0, 20.0 * MIB, fail).ask(0.0)
