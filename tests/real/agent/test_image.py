import mmap

import numpy as np
import pytest

from mshare_bench.errors import ConfigError
from mshare_bench.real.agent import protocol as p
from mshare_bench.real.agent.image import Binding, ControlImage, encode
from mshare_bench.real.agent.ops import REGIONS_START, Fork, Map, Op, Protect, Touch


def header_of(image: ControlImage) -> np.void:
    return np.frombuffer(image.prefix, dtype=p.HEADER, count=1)[0]


def ops_of(image: ControlImage) -> np.ndarray:
    header = header_of(image)
    spans = np.frombuffer(image.prefix, dtype=p.SPAN, count=1, offset=int(header["spans_offset"]))
    assert spans[0]["first"] == 0
    last = (int(header["placements_offset"]) - int(header["ops_offset"])) // p.OP.itemsize
    return np.frombuffer(image.prefix, dtype=p.OP, count=last, offset=int(header["ops_offset"]))


def test_phases_are_the_union_of_the_programs_in_order() -> None:
    touch = Touch(REGIONS_START, count=1)
    image = encode([{"attach": [touch], "touch": [touch, touch]}, {"attach": [touch] * 3, "unmap": []}], (), 4)
    assert image.layout.phases == ("launch", "attach", "touch", "unmap", "exit")
    assert image.layout.op_count == (0, 3, 2, 0, 0)
    assert image.layout.op_base == (0, 0, 3, 5, 5)


def test_a_mapping_brings_its_advices_as_ops_of_their_own() -> None:
    image = encode([{"attach": [Map(REGIONS_START, 8192, fd=7, offset=4096, advice=(14, 12))]}], (), 1)
    ops = ops_of(image)[:3]
    assert ops["kind"].tolist() == [p.OpKind.MAP, p.OpKind.ADVISE, p.OpKind.ADVISE]
    assert ops["number"][1:].tolist() == [14, 12]
    assert (ops["length"] == 8192).all()
    assert ops["mmap_flags"][0] == mmap.MAP_SHARED | 0x100000
    assert (ops["fd"][0], ops["offset"][0]) == (7, 4096)


def test_equal_page_lists_are_stored_once() -> None:
    pages = np.arange(100_000, dtype=np.uint32)
    once = encode([{"touch": [Touch(REGIONS_START, pages=pages)]}], (), 1)
    program = {"touch": [Touch(REGIONS_START, pages=pages), Touch(REGIONS_START << 1, pages=pages, write=True)]}
    twice = encode([program, program], (), 1)
    assert len(twice.prefix) - len(once.prefix) < pages.nbytes
    start = int(header_of(once)["lists_offset"])
    assert np.array_equal(np.frombuffer(once.prefix, dtype=np.uint32, count=len(pages), offset=start), pages)


@pytest.mark.parametrize("steps", [1, 5, 40])
@pytest.mark.parametrize("agents", [1, 1000])
def test_no_record_lies_in_two_page_tables(steps: int, agents: int) -> None:
    image = encode([{f"step{i}": [Touch(REGIONS_START, count=1)] * 2 for i in range(steps)}], (), agents)
    size = image.layout.record.itemsize
    assert (p.CONTROL_ADDRESS + image.records_offset) % (2 << 20) == 0
    assert (2 << 20) % size == 0
    assert image.total_bytes == image.records_offset + (agents + 1) * size
    assert size >= p.RECORD_HEAD.itemsize + (steps + 2) * p.PHASE_RESULT.itemsize + 2 * steps * p.OP_RESULT.itemsize


def test_bindings_become_masks() -> None:
    image = encode([{}], [Binding(frozenset({0, 65}), mode=2, nodes=frozenset({1})), Binding()], 1)
    start = int(header_of(image)["placements_offset"])
    first, second = np.frombuffer(image.prefix, dtype=p.PLACEMENT, count=2, offset=start)
    assert first["cpus"].tolist()[:3] == [1, 2, 0]
    assert first["nodes"][0] == 2
    assert (first["set_cpus"], first["mode"]) == (1, 2)
    assert (second["set_cpus"], second["mode"]) == (0, -1)


@pytest.mark.parametrize(
    ("program", "match"),
    [
        ({"launch": [Touch(REGIONS_START)]}, "launch"),
        ({"exit": []}, "exit"),
        ({"fork": [Fork("child")]}, "child"),
        ({"touch": [Touch(REGIONS_START, pages=np.arange(3))]}, "uint32"),
        ({"p": [Protect(REGIONS_START, 4096, 1)] * 70_000}, "2 MiB"),
    ],
)
def test_a_program_that_can_not_be_laid_out_is_refused(program: dict[str, list[Op]], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        encode([program], (), 1)


def test_a_cpu_beyond_the_mask_is_refused() -> None:
    with pytest.raises(ConfigError, match="4096"):
        encode([{}], [Binding(frozenset({4096}))], 1)
