from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.audit.objects import PRIVATE
from mshare_bench.audit.pieces import cut, largest_batch
from tests.audit.toys import PAGE, TOY, Mapping, layout_of, population_of, tables_of


@st.composite
def address_spaces(draw):
    """Mappings in a row, some touching, of a few objects, with arbitrary pages populated."""
    mappings, at = [], draw(st.integers(0, 70))
    for _ in range(draw(st.integers(1, 6))):
        at += draw(st.sampled_from([0, 0, 1, 3, 40]))
        length = draw(st.integers(1, 40))
        pages = draw(st.sets(st.integers(at, at + length - 1), max_size=length))
        number = draw(st.integers(0, 3))
        mappings.append(Mapping(at, length, number, draw(st.integers(0, 20)), frozenset(pages)))
        at += length
    return mappings


def owners(mappings):
    return [{slot: mappings[min(pages)[1]].number for slot, pages in level.items()} for level in tables_of(mappings)]


@settings(max_examples=300, deadline=None)
@given(st.lists(address_spaces(), min_size=1, max_size=4))
def test_tables_are_those_that_a_walk_page_by_page_finds(spaces):
    pieces = cut([(layout_of(one), population_of(one)) for one in spaces], TOY)
    assert pieces.stray.sum() == 0
    number = pieces.mapped.number[pieces.mapping]
    space = pieces.mapped.space[pieces.mapping]
    for index, level in enumerate(pieces.levels):
        span = TOY.spans[index]
        expected = {(at, slot): who for at, one in enumerate(spaces) for slot, who in owners(one)[index].items()}
        local = (level.start & (1 << pieces.shift) - 1) // span
        keys = list(zip(space[level.owner].tolist(), local.tolist(), strict=True))
        assert dict(zip(keys, number[level.owner].tolist(), strict=True)) == expected
        assert pieces.totals()[index].tolist() == [len(tables_of(one)[index]) for one in spaces]
        alone = {
            (at, slot)
            for at, one in enumerate(spaces)
            for slot, pages in tables_of(one)[index].items()
            if len({one[who].number for _, who in pages}) == 1
        }
        assert {key for key, yes in zip(keys, level.exclusive.tolist(), strict=True) if yes} == alone


@settings(max_examples=200, deadline=None)
@given(address_spaces())
def test_every_span_of_an_object_that_has_a_page_has_a_piece(mappings):
    pieces = cut([(layout_of(mappings), population_of(mappings))], TOY)
    expected = {
        (index, page // 4, (page - one.start + one.offset) // 4 if one.number != PRIVATE else 0)
        for index, one in enumerate(mappings)
        for page in one.pages
    }
    number = pieces.mapped.number[pieces.mapping]
    found = [
        (mapping, address // (4 * PAGE), position // (4 * PAGE) if who != PRIVATE else 0)
        for mapping, address, position, who in zip(
            pieces.mapping.tolist(), pieces.address.tolist(), pieces.position.tolist(), number.tolist(), strict=True
        )
    ]
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_huge_pages_need_no_pte_table_but_private_ones_have_one_deposited():
    pages = frozenset(range(16, 24))
    for number, expected in ((1, [0, 1, 1]), (PRIVATE, [2, 1, 1])):
        mapping = Mapping(16, 8, number, 0, pages, huge=True)
        pieces = cut([(layout_of([mapping]), population_of([mapping]))], TOY)
        assert pieces.totals()[:, 0].tolist() == expected


def test_hugetlb_and_windows_of_mshare():
    pages = frozenset(range(64, 96))
    for leaf, expected in ((1, [0, 2, 1]), (2, [0, 0, 1]), (3, [0, 0, 0])):
        mapping = Mapping(64, 32, 1, 0, pages, leaf=leaf, huge=leaf < 3)
        pieces = cut([(layout_of([mapping]), population_of([mapping]))], TOY)
        assert pieces.totals()[:, 0].tolist() == expected


def test_what_no_mapping_explains_is_stray():
    known = Mapping(8, 4, 1, 0, frozenset({8}))
    unknown = Mapping(20, 4, 1, 0, frozenset({20, 22}))
    pieces = cut([(layout_of([known]), population_of([known, unknown]))], TOY)
    assert pieces.stray.tolist() == [2]
    assert pieces.totals()[:, 0].tolist() == [1, 1, 1]


def test_nothing_populated():
    empty = Mapping(8, 4, 1)
    pieces = cut([(layout_of([empty]), population_of([empty]))] * 2, TOY)
    assert pieces.totals().tolist() == [[0, 0]] * 3


def test_wide_address_spaces_go_in_small_batches():
    assert largest_batch(wide=True) << 57 <= 1 << 62
    assert largest_batch(wide=False) << 47 <= 1 << 62
