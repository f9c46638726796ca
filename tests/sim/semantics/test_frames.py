"""Frames and page caches: counted, charged, freed by the last put."""

from mshare_bench.sim.semantics import Machine, frames
from mshare_bench.sim.semantics.state import Backing, Credentials, FrameKind


def test_the_last_put_frees() -> None:
    machine = Machine()
    frame = frames.get_frame(frames.new_frame(machine, FrameKind.ANON, "/a"))
    frames.write_byte(machine, frame, 0, 7)
    frames.get_frame(frame)
    frames.put_frame(machine, frame)
    assert machine.charges == {("/a", "data"): 1}
    frames.put_frame(machine, frame)
    assert (machine.frames, machine.charges, machine.contents) == ({}, {}, {})


def test_the_zero_pages_are_nobodys() -> None:
    machine = Machine()
    frames.get_frame(machine.zero)
    frames.put_frame(machine, machine.zero)
    assert machine.zero.refs == 0


def test_a_hole_is_filled_once() -> None:
    machine = Machine()
    backing = Backing("f", "memfd", 8192, Credentials())
    first = frames.cache_page(machine, backing, 1, "/")
    assert frames.cache_page(machine, backing, 1, "/") == first
    assert list(backing.pages) == [1]


def test_a_huge_page_of_the_cache_needs_room_and_a_hole() -> None:
    machine = Machine()
    backing = Backing("f", "memfd", 3 << 20, Credentials())
    frame, sub = frames.cache_page(machine, backing, 5, "/", huge=True)
    assert (frame.pages, sub, len(backing.pages)) == (512, 5, 512)
    assert frames.cache_page(machine, backing, 600, "/", huge=True)[0].pages == 1
    frames.drop_cache(machine, backing, range(1024))
    assert not machine.frames


def test_a_copy_has_the_bytes_of_its_source() -> None:
    machine = Machine()
    source = frames.new_frame(machine, FrameKind.ANON, "/", pages=512)
    frames.write_byte(machine, source, 9, 42)
    target = frames.copy_bytes(machine, source, 9, frames.new_frame(machine, FrameKind.ANON, "/"))
    assert frames.read_byte(machine, target, 0) == 42
