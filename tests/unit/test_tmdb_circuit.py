"""The circuit around TMDb: what opens it, who is refused, and who may look whether TMDb is back."""

import asyncio
from contextlib import AbstractContextManager

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from structlog.testing import capture_logs

from moviehub.adapters.tmdb.circuit import Circuit, Failure, OverLimit
from moviehub.domain.errors import Unavailable
from tests.tmdb_stand_in import Watch


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def circuit(watch: Watch) -> Circuit:
    return Circuit(monotonic=watch)


def ask(circuit: Circuit, fault: BaseException | None = None) -> None:
    """A question that ends in this way."""
    with circuit.question():
        if fault is not None:
            raise fault


def state(circuit: Circuit) -> str:
    return circuit.state


def fail(circuit: Circuit, times: int) -> None:
    for _ in range(times):
        with pytest.raises(Failure):
            ask(circuit, Failure("status 500"))


def refused(circuit: Circuit) -> int:
    """After how many seconds to ask again, said without asking."""
    with pytest.raises(Unavailable) as error, circuit.question():
        raise AssertionError("it was let through")
    return error.value.retry_after


def test_five_failures_in_a_row_open_it_and_not_one_less(circuit: Circuit) -> None:
    fail(circuit, 4)
    assert state(circuit) == "closed"
    fail(circuit, 1)
    assert state(circuit) == "open"


def test_an_answer_between_them_ends_the_row(circuit: Circuit) -> None:
    fail(circuit, 4)
    ask(circuit)
    fail(circuit, 4)
    assert state(circuit) == "closed"


@pytest.mark.parametrize("end", [asyncio.CancelledError(), Unavailable(), ValueError()], ids=repr)
def test_whatever_else_ends_a_question_counts_neither_for_it_nor_against(circuit: Circuit, end: BaseException) -> None:
    for _ in range(10):
        with pytest.raises(type(end)):
            ask(circuit, end)
    assert state(circuit) == "closed"
    fail(circuit, 4)
    with pytest.raises(type(end)):
        ask(circuit, end)
    fail(circuit, 1)
    assert state(circuit) == "open"


def test_while_it_is_open_all_are_refused_with_what_is_left_of_the_time(circuit: Circuit, watch: Watch) -> None:
    fail(circuit, 5)
    assert refused(circuit) == 5
    watch.time += 3.2
    assert refused(circuit) == 2
    watch.time += 1.79
    assert refused(circuit) == 1


def test_after_its_time_one_is_let_through_and_the_others_are_refused(circuit: Circuit, watch: Watch) -> None:
    fail(circuit, 5)
    watch.time += 5
    assert state(circuit) == "half-open"
    with circuit.question():
        assert refused(circuit) == 1
        with pytest.raises(Unavailable):
            circuit.check()
    assert state(circuit) == "closed"
    fail(circuit, 4)
    assert state(circuit) == "closed"


def test_a_probe_that_fails_opens_it_again_for_the_whole_time(circuit: Circuit, watch: Watch) -> None:
    fail(circuit, 5)
    for _ in range(3):
        watch.time += 5
        fail(circuit, 1)
        assert refused(circuit) == 5


@pytest.mark.parametrize("end", [asyncio.CancelledError(), Unavailable()], ids=repr)
def test_a_probe_that_tells_nothing_makes_room_for_another(circuit: Circuit, watch: Watch, end: BaseException) -> None:
    fail(circuit, 5)
    watch.time += 5
    with pytest.raises(type(end)):
        ask(circuit, end)
    assert state(circuit) == "half-open"
    ask(circuit)
    assert state(circuit) == "closed"


def test_who_is_told_to_wait_opens_it_for_so_long_whatever_else_was_answered(circuit: Circuit, watch: Watch) -> None:
    with pytest.raises(OverLimit):
        ask(circuit, OverLimit("over the limit", retry_after=30))
    assert refused(circuit) == 30
    watch.time += 29.5
    assert refused(circuit) == 1
    watch.time += 0.5
    ask(circuit)
    assert state(circuit) == "closed"


def test_the_longest_wait_that_was_told_holds_though_a_probe_is_answered(circuit: Circuit, watch: Watch) -> None:
    late = circuit.question()
    late.__enter__()
    fail(circuit, 5)
    watch.time += 5
    with circuit.question():
        told = OverLimit("over the limit", retry_after=20)
        assert not late.__exit__(OverLimit, told, None)
    assert refused(circuit) == 20
    with pytest.raises(Unavailable):
        circuit.check()


def test_a_shorter_wait_that_is_told_later_shortens_nothing(circuit: Circuit) -> None:
    late = circuit.question()
    late.__enter__()
    with pytest.raises(OverLimit):
        ask(circuit, OverLimit("over the limit", retry_after=30))
    assert not late.__exit__(OverLimit, OverLimit("over the limit", retry_after=2), None)
    assert refused(circuit) == 30


def test_what_began_before_it_opened_tells_nothing_of_what_came_after(circuit: Circuit, watch: Watch) -> None:
    good, bad = circuit.question(), circuit.question()
    good.__enter__()
    bad.__enter__()
    fail(circuit, 5)
    good.__exit__(None, None, None)
    assert state(circuit) == "open"
    watch.time += 5
    with circuit.question():
        assert not bad.__exit__(Failure, Failure("deadline"), None)
        assert state(circuit) == "half-open"
    assert state(circuit) == "closed"


def test_second_tries_are_ten_and_then_one_for_ten_questions(circuit: Circuit) -> None:
    assert [circuit.second_try() for _ in range(11)] == [True] * 10 + [False]
    for number in range(1, 41):
        ask(circuit)
        assert circuit.second_try() == (number % 10 == 0)


def test_second_tries_that_are_not_needed_are_not_saved_beyond_ten(circuit: Circuit) -> None:
    for _ in range(200):
        ask(circuit)
    assert [circuit.second_try() for _ in range(11)] == [True] * 10 + [False]


def test_while_it_is_open_nothing_is_tried_a_second_time(circuit: Circuit, watch: Watch) -> None:
    fail(circuit, 5)
    assert not circuit.second_try()
    watch.time += 5
    assert circuit.second_try()


def test_one_line_is_logged_when_it_opens_and_one_when_it_closes(circuit: Circuit, watch: Watch) -> None:
    with capture_logs() as logs:
        fail(circuit, 5)
        refused(circuit)
        watch.time += 5
        fail(circuit, 1)
        watch.time += 5
        ask(circuit)
        ask(circuit)
    assert logs == [
        {"event": "tmdb_circuit_opened", "log_level": "warning", "why": "status 500", "seconds": 5.0},
        {"event": "tmdb_circuit_closed", "log_level": "info"},
    ]


class Crowd(RuleBasedStateMachine):
    """Many who ask at once and end in any order, while time goes by."""

    def __init__(self) -> None:
        super().__init__()
        self.watch = Watch()
        self.circuit = Circuit(most_failures=2, monotonic=self.watch)
        self.asking: list[AbstractContextManager[None]] = []
        self.probe: AbstractContextManager[None] | None = None
        self.wait_until = 0.0

    @rule()
    def ask(self) -> None:
        before = self.circuit.state
        question = self.circuit.question()
        try:
            question.__enter__()
        except Unavailable:
            assert before == "open" or self.probe, "there was no need to refuse"
            return
        assert self.watch.time >= self.wait_until, "TMDb told us to wait"
        assert before != "open"
        if before == "half-open":
            assert self.probe is None, "two may look"
            self.probe = question
        self.asking.append(question)

    @precondition(lambda self: self.asking)
    @rule(data=st.data(), end=st.sampled_from(["good", "failure", "limit", "cancelled"]), wait=st.integers(1, 60))
    def end(self, data: st.DataObject, end: str, wait: int) -> None:
        question = self.asking.pop(data.draw(st.integers(0, len(self.asking) - 1)))
        faults: dict[str, BaseException] = {
            "failure": Failure("status 500"),
            "limit": OverLimit("over the limit", retry_after=wait),
            "cancelled": asyncio.CancelledError(),
        }
        fault = faults.get(end)
        before = self.circuit.state
        assert not question.__exit__(type(fault) if fault else None, fault, None)
        if before != "closed" and question is not self.probe and end != "limit":
            assert self.circuit.state == before, "somebody who is late changed it"
        if end == "limit":
            self.wait_until = max(self.wait_until, self.watch.time + wait)
        if end == "limit" or question is self.probe:
            self.probe = None

    @rule(seconds=st.floats(0, 10))
    def wait(self, seconds: float) -> None:
        self.watch.time += seconds


TestCrowd = Crowd.TestCase
