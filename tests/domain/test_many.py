from dataclasses import dataclass

import numpy as np
import pytest

from mshare_bench.domain.many import Divided, Many, alone, distinct, each, each_once, larger, many, remembered, smaller


@dataclass(frozen=True, slots=True)
class Pair:
    low: int
    high: int | None


def column(*values):
    return np.array(values).reshape(-1, 1).view(Many)


def test_a_question_has_one_answer_or_divides_the_elements():
    numbers = column(3, 5, 8)
    assert numbers > 2
    assert not numbers > 8
    with pytest.raises(Divided) as divided:
        bool(numbers > 4)
    assert divided.value.labels.tolist() == [[False], [True], [True]]
    assert max(numbers, 9) == 9
    with pytest.raises(Divided):
        min(numbers, 4)


def test_as_an_index_the_elements_part_by_their_values():
    assert list(range(column(2, 2))) == [0, 1]
    with pytest.raises(Divided) as divided:
        range(column(2, 3))
    assert divided.value.labels.tolist() == [[2], [3]]


def test_adding_in_place_leaves_the_number_that_was_there():
    first = total = column(1, 2)
    total += 1
    total -= 3
    total *= 2
    assert (first.tolist(), total.tolist()) == ([[1], [2]], [[-2], [0]])


def test_equal_numbers_are_one_plain_number():
    assert type(many([7, 7])) is int
    assert many(np.array([[1], [2]])).tolist() == [[1], [2]]


def test_larger_and_smaller_take_element_by_element():
    numbers = column(3, 5)
    assert larger(numbers, 4).tolist() == [[4], [5]]
    assert smaller(4, numbers).tolist() == [[3], [4]]
    assert (larger(1, 2), smaller(1, 2)) == (2, 1)


def test_each_calls_with_plain_numbers_from_inside_of_values():
    seen = []

    def swapped(pair, numbers, name):
        seen.append((pair, numbers, name, type(pair.low)))
        return Pair(pair.high, numbers[1])

    found = each(swapped, Pair(column(1, 2), 9), (4, column(5, 6)), "x")
    assert [one[:3] for one in seen] == [(Pair(1, 9), (4, 5), "x"), (Pair(2, 9), (4, 6), "x")]
    assert {one[3] for one in seen} == {int}
    assert (found.low, found.high.tolist()) == (9, [[5], [6]])
    assert each(swapped, Pair(1, 2), (3, 4), "y") == Pair(2, 4)


def test_each_spreads_a_number_per_row_over_a_number_per_cell():
    wide = np.array([[1, 2], [3, 4]]).view(Many)
    assert each(lambda row, cell: 10 * row + cell, column(1, 2), wide).tolist() == [[11, 12], [23, 24]]


def test_what_only_some_elements_have_divides_them():
    assert each(lambda number: None, column(1, 2)) is None
    with pytest.raises(Divided) as divided:
        each(lambda number: None if number > 1 else number, column(1, 2))
    assert divided.value.labels.tolist() == [[False], [True]]


def test_alone_parts_every_element():
    alone(Pair(1, 2), 3)
    with pytest.raises(Divided) as divided:
        alone(Pair(1, column(5, 5, 6)))
    assert divided.value.labels.tolist() == [[0], [1], [2]]


def test_arrays_go_past_a_cache_and_numbers_into_it():
    calls = []

    @remembered(maxsize=8)
    def doubled(number):
        calls.append(number)
        return 2 * number

    numbers = column(1, 2)
    assert [doubled(4), doubled(4)] == [8, 8]
    assert [doubled(numbers).tolist() for _ in range(2)] == [[[2], [4]]] * 2
    assert len(calls) == 3


def test_an_error_of_what_is_cached_is_not_swallowed():
    @remembered(maxsize=8)
    def wrong(number):
        raise TypeError("of its own")

    with pytest.raises(TypeError, match="of its own"):
        wrong(1)


def test_distinct_keeps_the_order_of_values_with_and_without_arrays():
    assert distinct([3, 1, 3]) == [3, 1]
    one, other = Pair(column(1, 2), 3), Pair(column(4, 5), 3)
    assert distinct([one, other, Pair(column(1, 2), 3)]) == [one, other]


def test_each_once_knows_a_value_by_identity_and_an_array_by_its_numbers():
    calls = []

    def added(pair, number):
        calls.append(number)
        return pair.low + number

    pair = Pair(column(1, 2), 0)
    first = [each_once(added, pair, column(10, 20)).tolist() for _ in range(2)]
    assert (first, len(calls)) == ([[[11], [22]]] * 2, 2)
    assert each_once(added, pair, column(10, 30)).tolist() == [[11], [32]]
    assert each_once(added, Pair(column(3, 4), 0), column(10, 20)).tolist() == [[13], [24]]
    assert (each_once(added, Pair(1, 0), 2), len(calls)) == (3, 7)
