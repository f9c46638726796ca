from rich.console import Console

from mshare_bench.report.validation import figure, print_validation, summary
from mshare_bench.validation.comparison import Comparison, table

ROWS = [
    Comparison("shmem", "page_table_bytes", "here", 4096, 4096, 0.0, "this kernel", unit="B", block="kernel"),
    Comparison(
        "shmem", "touch_ns", "here", None, 1000, None, "this kernel", unit="ns", block="kernel", note="no profile"
    ),
    Comparison("fork_series", "fork", "1 GiB", 16, 16, 0.2, "a blog", fitted=True, unit="ms"),
    Comparison("fork_series", "fork", "2 GiB", 28, 31, 0.2, "a blog", unit="ms"),
    Comparison("fork_series", "fork", "4 GiB", 53, 58, 0.2, "a blog", unit="ms"),
    Comparison("fork_series", "fork", "20 GiB", 999, 214, 0.2, "a blog", unit="ms"),
    Comparison("move_pages", "rate", "2MiB", None, 10.67, None, "a letter", unit="GB/s", note="one entry"),
]


def printed(rows, width=140):
    console = Console(width=width, record=True, file=None, no_color=True, force_terminal=False)
    with console.capture() as capture:
        print_validation(table(rows), console)
    return capture.get()


def test_summary_counts_every_row_once():
    counts = summary(table(ROWS).to_pylist())
    assert counts["kernel"] == {
        "rows": 2, "passed": 1, "failed": 0, "fitted": 0, "reported": 1, "median_error": 0.0,
    }  # fmt: skip
    published = counts["published"]
    assert (
        published["passed"] + published["failed"] + published["fitted"] + published["reported"]
        == published["rows"]
        == 5
    )
    assert published["failed"] == 1 and published["fitted"] == 1


def test_what_failed_stands_alone_and_what_was_fitted_is_only_counted():
    text = printed(ROWS)
    failing = next(line for line in text.splitlines() if "FAIL" in line)
    assert "20 GiB" in failing and "999 ms" in failing and "214 ms" in failing
    assert "fork (2 rows)" in text
    assert "16 ms" not in text
    assert "1 passed" in text and "2 passed, 1 failed, 1 only reported, 1 set a parameter" in text


def test_what_was_not_predicted_is_told_with_its_reason():
    text = printed(ROWS)
    assert "1 measured and not predicted: no profile" in text
    assert "10.67 GB/s" in text and "one entry" in text


def test_the_figure_is_a_png(tmp_path):
    path = figure(table(ROWS), tmp_path / "figures" / "validation.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [one.name for one in path.parent.iterdir()] == ["validation.png"]


def test_a_figure_of_nothing_is_drawn_too(tmp_path):
    assert figure(table([]), tmp_path / "validation.png").exists()
