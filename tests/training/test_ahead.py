import threading

import pytest

from lepton_nb.training.ahead import Ahead


def test_results_come_in_order_and_at_most_so_many_are_made_before_they_are_taken():
    made, enough = [], threading.Event()

    def make(number):
        made.append(number)
        if len(made) == 3:
            enough.set()
        return number * 2

    with Ahead(make, range(10), most=3) as ahead:
        assert enough.wait(10)
        assert made == [0, 1, 2]
        assert [ahead.take() for _ in range(10)] == list(range(0, 20, 2))
        with pytest.raises(EOFError):
            ahead.take()


def test_an_error_is_raised_where_its_result_is_taken():
    def make(number):
        if number == 2:
            raise ValueError("two")
        return number

    with Ahead(make, range(10), most=5) as ahead:
        assert [ahead.take(), ahead.take()] == [0, 1]
        with pytest.raises(ValueError, match="two"):
            ahead.take()


def test_leaving_ends_the_work_where_it_is():
    begun = threading.Event()

    def items():
        for number in range(1_000_000):
            begun.set()
            yield number

    made = []
    with Ahead(made.append, items(), most=2) as ahead:
        begun.wait(10)
        ahead.take()
    assert len(made) <= 4
