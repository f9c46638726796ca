import io

from rich.console import Console

from mshare_bench.report.calibration import print_checks, print_costs


def printed(show, rows):
    out = io.StringIO()
    show(rows, Console(file=out, width=120))
    return out.getvalue()


def test_a_cost_has_its_interval_and_one_that_is_not_known_has_none():
    rows = [
        {"name": "fork", "value": 30_000.0, "low": 29_000.0, "high": 31_000.0, "unit": "ns", "description": "fork"},
        {
            "name": "cache_bytes",
            "value": 1 << 20,
            "low": 1 << 19,
            "high": 1 << 21,
            "unit": "B",
            "description": "caches",
        },
        {"name": "ipi", "value": None, "low": None, "high": None, "unit": "ns", "description": "interrupt"},
    ]
    lines = printed(print_costs, rows).splitlines()
    assert "30 us" in lines[1] and "29 us to 31 us" in lines[1]
    assert "1 MiB" in lines[2] and "512 KiB to 2 MiB" in lines[2]
    assert lines[3].split()[:2] == ["ipi", "-"]


def test_a_check_shows_its_error():
    text = printed(print_checks, [{"label": "x", "phase": "unmap", "predicted": 2e6, "measured": 1e6, "error": 1.0}])
    assert "2 ms" in text and "1 ms" in text and "+100%" in text
