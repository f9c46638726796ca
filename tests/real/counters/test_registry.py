import os
import sys
import textwrap

import pytest

from mshare_bench.real import counters as package
from mshare_bench.real.counters import counters, registry
from mshare_bench.real.counters.registry import Counter, register


def test_every_counter_reads_a_number_or_says_why_not():
    found = counters()
    assert {"vm_pte", "page_tables", "minor_faults"} <= set(found)
    assert list(found) == sorted(found)
    for name, counter in found.items():
        reason = counter.available()
        value = counter.read([os.getpid()])
        assert counter.name == name
        assert counter.scope in ("process", "system")
        assert (value is None) == (reason is not None), f"{name}: {value} {reason}"


def test_two_counters_of_one_name_are_refused():
    some = next(iter(counters().values()))
    with pytest.raises(ValueError, match=some.name):
        register(some)


def test_the_view_cannot_be_written():
    with pytest.raises(TypeError):
        counters()["x"] = next(iter(counters().values()))


def test_one_new_file_is_a_counter_and_a_broken_one_is_a_warning(tmp_path, monkeypatch):
    (tmp_path / "fresh.py").write_text(
        textwrap.dedent("""
        from mshare_bench.real.counters.registry import Counter, register
        register(Counter("fresh", "1", "system", "", lambda: None, lambda pids: 7))
        """)
    )
    (tmp_path / "broken.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    monkeypatch.setattr(registry, "_imported", False)
    with pytest.warns(RuntimeWarning, match=r"broken.*no_such_module_anywhere"):
        found = counters()
    assert isinstance(found["fresh"], Counter)
    assert found["fresh"].read([]) == 7
    sys.modules.pop(f"{package.__name__}.fresh")
