"""What this machine can run, in the terminal."""

from rich.console import Console

from mshare_bench.report.doctor import print_findings


def test_a_missing_piece_says_how_to_get_it() -> None:
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_findings(
        [
            {"topic": "kernel", "state": "ok", "found": "Linux [6.18]", "enables": "engine=real", "remedy": None},
            {
                "topic": "qemu",
                "state": "missing",
                "found": "not there",
                "enables": "host=guest",
                "remedy": "apt install x",
            },
        ],
        console,
    )
    text = console.export_text()
    assert "Linux [6.18]" in text and "missing" in text and "how: apt install x" in text
