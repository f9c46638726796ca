import os

import pytest

from mshare_bench.audit.layout import Layouts
from mshare_bench.audit.objects import PRIVATE, Filesystems, Objects
from mshare_bench.domain.geometry import X86_64

_TEXT = b"""\
00400000-00452000 r-xp 00000000 fe:dd 173521      /usr/bin/program with blanks
00651000-00652000 r--p 00051000 fe:dd 173521      /usr/bin/program with blanks
00e03000-00e24000 rw-p 00000000 00:00 0           [heap]
7f0000003000-7f0010003000 rw-s 00002000 fe:de 25      /data/buffers
7f0020000000-7f0028000000 rw-p 00000000 00:00 0
7ffc00000000-7ffc00004000 r--p 00000000 00:00 0          [vvar]
7ffc00004000-7ffc00006000 r-xp 00000000 00:00 0          [vdso]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0  [vsyscall]
"""


@pytest.fixture
def layouts():
    return Layouts(Objects(Filesystems()), X86_64)


def test_lines_of_maps(layouts):
    layout = layouts.layout(_TEXT, os.getpid())
    assert len(layout.start) == 7, "what lies in the kernel's half is no part of the process"
    assert (layout.start[0], layout.end[0]) == (0x400000, 0x452000)
    assert layout.number.tolist() == [1, 1, PRIVATE, 2, PRIVATE, PRIVATE, PRIVATE]
    assert layout.offset.tolist() == [0, 0x51000, 0, 0x2000, 0, 0, 0]
    assert layout.deposits.tolist() == [False, False, True, False, True, True, True]
    assert layout.protection.tolist() == [5, 1, 3, 11, 3, 1, 5]
    assert layout.hidden.tolist() == [False] * 5 + [True, False]
    assert layout.vdso.tolist() == [False] * 6 + [True]
    assert layout.numbers == {1, 2}
    assert not layout.wide


def test_parts_cover_every_mapping_and_large_ones_stand_alone(layouts):
    parts = layouts.layout(_TEXT, os.getpid()).parts
    assert [(part.start, part.end) for part in parts] == [
        (0x400000, 0xE24000),
        (0x7F0000003000, 0x7F0010003000),
        (0x7F0020000000, 0x7F0028000000),
        (0x7FFC00000000, 0x7FFC00006000),
    ]
    assert [part.key is None for part in parts] == [True, False, False, True]
    # 0x3000 - 0x2000: so far off the object's own multiples of 2 MiB.
    assert [part.phase for part in parts] == [0, 0x1000, 0, 0]


def test_the_same_part_at_another_address_has_the_same_key(layouts):
    moved = _TEXT.replace(b"7f0000003000-7f0010003000", b"7e0000203000-7e0010203000")
    shifted = _TEXT.replace(b"7f0000003000-7f0010003000", b"7f0000004000-7f0010004000")
    keys = [layouts.layout(text, os.getpid()).parts[1].key for text in (_TEXT, moved, shifted)]
    assert keys[0] == keys[1] != keys[2]


def test_a_text_that_was_seen_is_not_taken_apart_again(layouts):
    assert layouts.layout(_TEXT, os.getpid()) is layouts.layout(bytes(bytearray(_TEXT)), os.getpid())


def test_addresses_beyond_47_bits(layouts):
    layout = layouts.layout(b"80000000000000-80000000200000 rw-p 00000000 00:00 0\n", os.getpid())
    assert layout.wide


def test_own_maps_are_taken_apart_whole(layouts):
    with open("/proc/self/maps", "rb") as file:
        text = file.read()
    layout = layouts.layout(text, os.getpid())
    lines = [line for line in text.splitlines() if not line.startswith(b"ffffffff")]
    assert [f"{start:x}-{end:x}" for start, end in zip(layout.start, layout.end, strict=True)] == [
        "-".join(f"{int(end, 16):x}" for end in line.split()[0].decode().split("-")) for line in lines
    ]
