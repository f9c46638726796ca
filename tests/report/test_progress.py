import io

from rich.console import Console

from mshare_bench.report.progress import progress
from tests.results.sample import cell_of, headline, rows_of


def test_failures_are_told_at_once_and_once() -> None:
    console = Console(file=io.StringIO(), width=200)
    assert isinstance(console.file, io.StringIO)
    with progress(100, console=console) as shown:
        for _ in range(3):
            shown.advance(headline().tables())
        first = console.file.getvalue()
        shown.advance(rows_of([cell_of("thp")], failing=("thp",)).tables())
        shown.note("results in [out]")
    assert first.splitlines() == [
        "skipped: mshare real, 1000 processes: this kernel shares no page tables (CONFIG_MSHARE)"
    ]
    assert console.file.getvalue().splitlines()[1:] == [
        "failed: thp sim, 10 processes: an agent died: SIGSEGV",
        "results in [out]",
    ]


def test_on_a_terminal_there_is_a_bar_and_quiet_is_quiet() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    assert isinstance(console.file, io.StringIO)
    with progress(15, console=console) as shown:
        shown.advance(headline().tables())
    assert "15/15" in console.file.getvalue()
    with progress(15, quiet=True) as shown:
        shown.advance(headline().tables())
