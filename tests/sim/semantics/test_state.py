"""The values and the shapes that the rules work on."""

import errno
import signal

from mshare_bench.domain.geometry import GEOMETRIES
from mshare_bench.sim.semantics import Config, Flush, Interface, Machine, Outcome
from mshare_bench.sim.semantics.state import Vma


def test_outcomes_say_what_came_of_it() -> None:
    assert [str(one) for one in (Outcome(), Outcome(errno=errno.EINVAL), Outcome(signal=signal.SIGSEGV), Outcome(b"\x01"))] == [
        "ok", "EINVAL", "SIGSEGV", "ok 01"
    ]  # fmt: skip
    assert [one.ok for one in (Outcome(), Outcome(errno=1), Outcome(signal=11))] == [True, False, False]


def test_interfaces_and_flushes_are_their_words() -> None:
    assert (Interface("flag"), Flush("list")) == ("flag", "list")


def test_entries_per_table_follow_the_geometry() -> None:
    assert Machine().entries == (512, 512, 512, 256)
    assert Machine(Config(geometry=GEOMETRIES["arm64_64k"])).entries[:2] == (8192, 8192)


def test_a_vma_knows_which_byte_of_its_backing_an_address_shows() -> None:
    assert Vma(8192, 16384, True, True, True, None, 4096).position(12288) == 8192
