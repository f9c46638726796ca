import errno
import os
from pathlib import Path

import pytest

from mshare_bench.errors import CapabilityError
from mshare_bench.real.knobs import knob as module
from mshare_bench.real.knobs import knobs
from mshare_bench.real.knobs.knob import Knob, More, register


def test_a_number_and_a_choice(tmp_path):
    (tmp_path / "number").write_text("17\n")
    (tmp_path / "choice").write_text("always within_size [advise] never\n")
    assert Knob("number", tmp_path / "number").read() == "17"
    assert Knob("choice", tmp_path / "choice").read() == "advise"


def test_every_knob_of_this_kernel_reads_as_the_kernel_shows_it():
    found = knobs()
    assert list(found) == sorted(found)
    for knob in found.values():
        if knob.path.exists():
            shown = knob.path.read_text().strip()
            value = knob.read()
            assert value == shown or f"[{value}]" in shown.split()
        else:
            assert str(knob.path) in knob.available()


def test_unavailable_names_the_file(tmp_path):
    knob = Knob("ghost", tmp_path / "ghost")
    assert str(tmp_path / "ghost") in knob.available()
    with pytest.raises(CapabilityError, match="ghost"):
        knob.read()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anything")
def test_not_writable_is_said(tmp_path):
    path = tmp_path / "fixed"
    path.write_text("1\n")
    path.chmod(0o444)
    assert "not writable" in Knob("fixed", path).available()


def test_not_writable_says_what_it_takes(monkeypatch, tmp_path):
    path = tmp_path / "fixed"
    path.write_text("1\n")

    def refused(_self, _text):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "write_text", refused)
    with pytest.raises(CapabilityError, match=r"fixed=2: cannot write .*/fixed: Permission denied; it takes root"):
        Knob("fixed", path).write("2")


def test_write_is_read_back(tmp_path):
    path = tmp_path / "number"
    path.write_text("0\n")
    Knob("number", path).write("3")
    assert path.read_text() == "3"


class _Kernel:
    """A knob's file as a kernel would keep it: takes at most `most`."""

    def __init__(self, monkeypatch, path, value, most, step=None):
        self.value, self.most, self.step, self.writes = value, most, step or most, 0
        monkeypatch.setattr(Path, "read_text", lambda _path: f"{self.value}\n")
        monkeypatch.setattr(Path, "write_text", self.write)

    def write(self, text):
        self.writes += 1
        wanted = min(int(text), self.most)
        self.value = min(wanted, self.value + self.step)


def test_less_than_asked_names_both(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_PAUSE_S", 0)
    kernel = _Kernel(monkeypatch, tmp_path, 2, most=7)
    with pytest.raises(CapabilityError, match=r"pool: asked for 10, got 7"):
        Knob("pool", tmp_path / "pool", unit_bytes=1).write("10")
    assert kernel.writes > 1


def test_a_pool_that_grows_in_steps_gets_there(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_PAUSE_S", 0)
    kernel = _Kernel(monkeypatch, tmp_path, 0, most=100, step=10)
    Knob("pool", tmp_path / "pool", unit_bytes=1).write("50")
    assert (kernel.value, kernel.writes) == (50, 5)


def test_a_plain_setting_is_tried_once(monkeypatch, tmp_path):
    kernel = _Kernel(monkeypatch, tmp_path, 0, most=1)
    with pytest.raises(CapabilityError, match="asked for 2, got 1"):
        Knob("ksm", tmp_path / "ksm").write("2")
    assert kernel.writes == 1


def test_a_pool_larger_than_memory_is_refused_before_the_kernel_is_asked(tmp_path):
    path = tmp_path / "pool"
    path.write_text("0\n")
    with pytest.raises(
        CapabilityError, match=r"asked for 1000000000, which takes 2097152000000000 bytes more; only \d+"
    ):
        Knob("pool", path, unit_bytes=2 << 20).write("1000000000")
    assert path.read_text() == "0\n"


def test_relative_values(tmp_path):
    path = tmp_path / "pool"
    path.write_text("30\n")
    knob = Knob("pool", path)
    assert [knob.target(value) for value in (More(12), 12, "advise")] == ["42", "12", "advise"]


def test_two_knobs_of_one_name_are_refused():
    with pytest.raises(ValueError, match="ksm_run"):
        register("ksm_run", Knob("ksm_run", Path("/x")))
