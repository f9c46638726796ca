import io
import re

import pytest
from rich.console import Console

from mshare_bench.audit.screen import render
from tests.audit.made_up import MIB, audit_of, buffers, library, unread


def shown(audit, width=80):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    render(audit, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 140, 200])
def test_no_line_is_longer_than_the_terminal_and_no_figure_is_cut(width):
    audit = audit_of(buffers(), library(name="/usr/lib/x86_64-linux-gnu/" + "deep/" * 20 + "libtail.so.1"))
    text = shown(audit, width)
    assert max(len(line) for line in text.splitlines()) <= width
    for figure in ("200 MiB", "198 MiB", "199.2 MiB", "6.2 MiB"):
        assert figure in text
    # A path is told by its end, and a name by its beginning.
    assert re.search(r"…\S*libtail.so.1|deep/libtail.so.1", text)
    assert "memfd:buffers" in text


def test_wide_terminals_show_every_way():
    assert "THP" not in shown(audit_of(buffers()), 80).split("largest processes")[0]
    wide = shown(audit_of(buffers()), 160).split("largest processes")[0]
    for title in ("kind", "once", "flag", "THP"):
        assert title in wide


def test_what_cannot_be_saved_is_a_dash():
    (row,) = [line for line in shown(audit_of(library())).splitlines() if "libbig" in line]
    assert row.split()[-2:] == ["–", "–"]


def test_sums_say_what_was_found():
    text = shown(audit_of(buffers()))
    assert "Page tables of all processes: 200.4 MiB in 100 address spaces, 198 MiB duplicated" in " ".join(text.split())
    assert "99 of 100 address spaces are explained to the last table" in text
    assert "the sum of the processes is 99.0% of it" in " ".join(text.split())
    assert "0.25 s (PAGEMAP_SCAN), 3 MiB read" in text


def test_the_rest_is_added_up_not_dropped():
    audit = audit_of(*(buffers(name=f"memfd:{at}") for at in range(8)), top=5)
    text = shown(audit, 160)
    (row,) = [line for line in text.splitlines() if "(3 others)" in line]
    assert "600 MiB" in row
    assert "594 MiB" in row
    assert "3 more objects are in the Arrow table" in text


def test_unattributed_bytes_and_what_was_missed_are_shown():
    audit = audit_of(
        buffers(),
        unread=(unread(), unread(9, "gone", "ended while it was read", None)),
        missed=("frames: not allowed",),
    )
    text = shown(audit)
    (row,) = [line for line in text.splitlines() if "(unattributed)" in line]
    assert "4 KiB" in row
    assert "Not read (Permission denied): init (4)" in text
    assert "Ended while being read, 1: gone (9)" in text
    assert "Missed: frames: not allowed." in text


def test_alignment_is_advised_where_something_is_duplicated():
    line = "mapped 12 KiB off a multiple of 2 MiB"
    assert line in shown(audit_of(buffers(advice=(line,))))
    alone = buffers(mappers=1, each=MIB, advice=(line,))
    assert "Alignment" not in shown(audit_of(alone))


def test_names_with_brackets_are_no_markup():
    assert "[red]evil" in shown(audit_of(buffers(name="memfd:[red]evil")), 160)


def test_it_ends_with_the_recommendation_and_its_price():
    text = shown(audit_of(buffers()), 200)
    lines = text[text.index("Recommendation") :].splitlines()
    assert lines[1].strip().startswith("Put memfd:buffers (inode 5) in hugetlb pages: saves 199.2 MiB")
    assert lines[2].strip().startswith("Price: 512 pages of 2 MiB")


def test_nothing_found():
    text = shown(audit_of())
    assert "Leave it as it is" in text


def test_cgroups_are_shown_when_there_are_several():
    audit = audit_of(buffers())
    assert "cgroups" not in shown(audit)
    two = (audit.cgroups[0], type(audit.cgroups[0])("/db", 3, MIB, MIB, 0, 0, 0))
    assert "/db" in shown(audit_of(buffers(), cgroups=two))
