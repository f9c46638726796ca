from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.audit.objects import PRIVATE, Kind
from mshare_bench.audit.pieces import cut
from mshare_bench.audit.tally import Tally
from tests.audit.test_pieces import address_spaces
from tests.audit.toys import PAGE, TOY, Mapping, layout_of, objects_of, population_of, tables_of

KINDS = (Kind.MEMFD, Kind.FILE, Kind.PRIVATE_FILE)


def tallied(spaces, weights=None, *, batches=1, kinds=KINDS):
    tally = Tally(objects_of(*kinds), TOY)
    weights = weights or [1] * len(spaces)
    usage = []
    for part in np.array_split(np.arange(len(spaces)), batches):
        if len(part):
            pieces = cut([(layout_of(spaces[at]), population_of(spaces[at])) for at in part], TOY)
            weight = np.array([weights[at] for at in part], np.int64)
            usage.append(tally.add(pieces, weight, np.array(part)))
    return tally, usage


def slowly(spaces, weights):
    """The same sums, table by table."""
    tables, exclusive = [Counter() for _ in TOY.spans], [Counter() for _ in TOY.spans]
    placed, laid_out, needed = ([set() for _ in TOY.spans] for _ in range(3))
    for mappings, weight in zip(spaces, weights, strict=True):
        if not weight:
            continue
        for level, slots in enumerate(tables_of(mappings)):
            span = TOY.spans[level]
            for slot, pages in slots.items():
                owner = mappings[min(pages)[1]]
                tables[level][owner.number] += weight
                exclusive[level][owner.number] += weight * (len({mappings[who].number for _, who in pages}) == 1)
                placed[level].add((owner.number, slot * span - owner.start * PAGE + owner.offset * PAGE))
                for page, who in pages:
                    one = mappings[who]
                    position = (page - one.start + one.offset) * PAGE // span
                    needed[level].add((one.number, position))
                    if one.number == owner.number:
                        laid_out[level].add((one.number, position))
    return tables, exclusive, placed, laid_out, needed


@settings(max_examples=150, deadline=None)
@given(st.data(), st.lists(address_spaces(), min_size=1, max_size=4), st.integers(1, 3))
def test_sums_are_those_of_table_by_table(data, spaces, batches):
    weights = data.draw(st.lists(st.integers(0, 3), min_size=len(spaces), max_size=len(spaces)))
    tally, _ = tallied(spaces, weights, batches=batches)
    tables, exclusive, *sets = slowly(spaces, weights)
    same = np.arange(4)
    for level in range(3):
        assert tally.tables[level].tolist() == [tables[level][number] for number in range(4)]
        assert tally.exclusive[level].tolist() == [exclusive[level][number] for number in range(4)]
        for rows, expected in zip((tally.placed, tally.laid_out, tally.needed), sets, strict=True):
            counts = Counter(number for number, _ in expected[level] if number != PRIVATE)
            assert rows[level].counts(same).tolist() == [counts[number] for number in range(4)]


def test_usage_says_who_has_how_many():
    first = [Mapping(0, 8, 1, pages=frozenset({0, 5})), Mapping(8, 4, PRIVATE, pages=frozenset({9}))]
    second = [Mapping(64, 4, 2, pages=frozenset({66}))]
    _, (usage,) = tallied([first, second])
    rows = set(zip(usage.space.tolist(), usage.number.tolist(), usage.tables.tolist(), strict=True))
    assert rows == {(0, 1, 4), (0, PRIVATE, 1), (1, 2, 3)}


def test_mappers_are_address_spaces_not_mappings():
    both = [Mapping(0, 4, 1), Mapping(10, 4, 1), Mapping(20, 4, 2)]
    tally, _ = tallied([both, [Mapping(0, 4, 1)]], [3, 1])
    assert tally.mappers.tolist() == [0, 4, 3, 0]
    assert tally.mapped_bytes.tolist() == [0, (3 * 8 + 4) * PAGE, 3 * 4 * PAGE, 0]


def test_whole_tables_and_their_alignment():
    dense = frozenset(range(8, 24))
    aligned = [Mapping(8, 16, 1, 0, dense)]
    shifted = [Mapping(9, 15, 1, 0, dense - {8})]
    tally, _ = tallied([aligned, shifted])
    # Aligned: tables of pages 8-11 ... 20-23, all whole. Shifted: the first is not whole, and no position is a multiple.
    assert tally.whole[1] == 4 + 3
    assert tally.aligned[1] == 4
    assert tally.same_place.counts(np.arange(4))[1] == 4 + 3
    tally, _ = tallied([aligned, aligned], [2, 3])
    assert (tally.whole[1], tally.same_place.counts(np.arange(4))[1]) == (20, 4)


def test_private_mappings_have_no_whole_tables():
    tally, _ = tallied([[Mapping(0, 16, 3, 0, frozenset(range(16)))]])
    assert tally.whole.sum() == tally.whole_slots.sum() == 0


def test_slots_of_hugetlb():
    pages = frozenset(range(16, 48))
    huge = [Mapping(16, 32, 1, 0, pages, leaf=1, huge=True)]
    ragged = [Mapping(20, 28, 1, 4, frozenset(range(20, 48)), leaf=1, huge=True, protection=9)]
    tally, _ = tallied([huge, ragged], [5, 2], kinds=(Kind.HUGETLB,))
    slots = tally.slots()
    # The ragged one has one whole slot of 16 pages, the other one two.
    rows = sorted(
        zip(
            slots.position.tolist(), slots.protection.tolist(), slots.weight.tolist(), slots.space.tolist(), strict=True
        )
    )
    assert rows == [(0, 11, 5, 0), (16 * PAGE, 9, 2, 1), (16 * PAGE, 11, 5, 0)]
    assert sorted(slots.address.tolist()) == [16 * PAGE, 32 * PAGE, 32 * PAGE]


def test_tables_that_a_hidden_mapping_explains():
    tally, _ = tallied([[Mapping(0, 4, 1, 0, frozenset({0}))]])
    tally.put_down(0, PRIVATE, 2)
    assert tally.tables[:, PRIVATE].tolist() == [2, 0, 0]
