import json
import time

import pytest

from mshare_bench.real import warmth as module
from mshare_bench.real.warmth import KEPT_SECONDS, remember, warmth


def test_memory_is_warm_up_to_what_was_taken(tmp_path):
    folder = tmp_path / "state"
    assert warmth(1, folder) == "cold"
    remember(1000, folder)
    assert [warmth(need, folder) for need in (1, 1000, 1001)] == ["warm", "warm", "cold"]
    assert [path.name for path in folder.iterdir()] == ["memory.json"]


def test_a_smaller_cell_does_not_hide_a_larger_one(tmp_path):
    remember(1000, tmp_path)
    remember(10, tmp_path)
    assert warmth(1000, tmp_path) == "warm"


@pytest.mark.parametrize("later", [KEPT_SECONDS - 1, KEPT_SECONDS + 1])
def test_it_gets_cold_again(tmp_path, monkeypatch, later):
    remember(1000, tmp_path)
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    monkeypatch.setattr(module.time, "clock_gettime", lambda _clock: now + later)
    assert warmth(1000, tmp_path) == ("warm" if later < KEPT_SECONDS else "cold")
    remember(10, tmp_path)
    assert warmth(10, tmp_path) == "warm"
    assert warmth(1000, tmp_path) == ("warm" if later < KEPT_SECONDS else "cold")


def test_another_boot_and_a_broken_note_are_cold(tmp_path):
    remember(1000, tmp_path)
    note = json.loads((tmp_path / "memory.json").read_text())
    (tmp_path / "memory.json").write_text(json.dumps({**note, "boot": "another"}))
    assert warmth(1, tmp_path) == "cold"
    (tmp_path / "memory.json").write_text("{")
    assert warmth(1, tmp_path) == "cold"
    remember(5, tmp_path)
    assert warmth(5, tmp_path) == "warm"
