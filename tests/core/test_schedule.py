"""When something is open: the rule, its vector form, and what is refused."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sociogram as sg


@given(st.integers(1, 9), st.data(), st.integers(0, 12))
def test_is_open_in_the_first_part_of_each_period(every: int, data: st.DataObject, start: int) -> None:
    open_for = data.draw(st.integers(1, every))
    schedule = sg.Schedule(every=every, open_for=open_for, start=start)
    expected = [False] * start + ([True] * open_for + [False] * (every - open_for)) * 5
    assert [schedule.is_open(i) for i in range(len(expected))] == expected
    assert schedule.is_open(torch.arange(len(expected))).tolist() == expected
    assert schedule.is_open(-1) is False
    assert sg.Schedule.from_plain(json.loads(json.dumps(schedule.as_plain()))) == schedule


def test_the_plain_schedule_is_always_open_and_prints() -> None:
    assert all(sg.Schedule().is_open(i) for i in range(20))
    assert str(sg.Schedule()) == "all positions"
    assert str(sg.Schedule(every=4, open_for=2, start=3)) == "2 of every 4 positions from 3 on"
    assert repr(sg.Schedule(every=4)) == "Schedule(every=4, open_for=1, start=0, over='positions', predicate=None)"
    assert sg.Schedule(every=4) != sg.Schedule(every=5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every": 0}, "Schedule every=0: a whole number of at least 1"),
        ({"every": 2.0}, "Schedule every=2.0: a whole number"),
        ({"open_for": True}, "Schedule open_for=True: a whole number"),
        ({"start": -1}, "Schedule start=-1: a whole number of at least 0"),
        ({"every": 2, "open_for": 3}, "open_for=3 is longer than its period every=2"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(sg.InputError, match=message):
        sg.Schedule(**settings)


def test_what_is_no_schedule_is_refused() -> None:
    with pytest.raises(sg.InputError, match="is no schedule: it has every, open_for, start"):
        sg.Schedule.from_plain({"each": 3})


def test_what_is_counted_and_what_is_asked() -> None:
    assert str(sg.Schedule(every=4, over="layers")) == "1 of every 4 layers"
    assert str(sg.Schedule(every=3, open_for=2, start=1, over="generated")) == "2 of every 3 tokens that are written from 1 on"
    when = sg.Schedule.when(lambda moment: moment.position > 1)
    assert str(when) == "when lambda"
    first, third = (sg.Moment(position, 5, "x", 0) for position in (0, 2))
    assert [when.is_open_at(moment) for moment in (first, third)] == [False, True]
    assert sg.Schedule.from_plain({"every": 2, "over": "layers"}) == sg.Schedule(every=2, over="layers")
    for words, call in (
        (r"Schedule over='tokens': choose one of positions, generated, layers", lambda: sg.Schedule(over="tokens")),
        (r"Schedule.when\(3\): give a function that takes an sg.Moment", lambda: sg.Schedule.when(3)),
        ("numbers or a predicate, and both were given", lambda: sg.Schedule(every=2, predicate=bool)),
        ("when lambda is asked about moments, not numbers", lambda: when.is_open(3)),
        ("all positions is asked about numbers, not moments", lambda: sg.Schedule().is_open_at(first)),
        ("a function, which cannot be stored: give numbers", when.as_plain),
        ("is no schedule: it has every, open_for, start, over", lambda: sg.Schedule.from_plain({"predicate": "x"})),
    ):
        with pytest.raises(sg.InputError, match=words):
            call()
