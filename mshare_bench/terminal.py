"""How the command line talks: rows, tables, progress, and mistakes in one line."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mshare_bench.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

    from mshare_bench.domain.cell import Cell
    from mshare_bench.domain.ports import Tables
    from mshare_bench.report.progress import Shown
    from mshare_bench.study import Observer
    from mshare_bench.sweep.plan import Plan

__all__ = ["ArgumentParser", "Output", "console", "listed", "observed", "one_line", "share"]


@dataclass(frozen=True, slots=True)
class Output:
    """How to print: `--json` leaves standard output to rows alone, `--quiet` says nothing but errors and rows."""

    json: bool = False
    quiet: bool = False

    def say(self, text: str) -> None:
        """A line for people."""
        if not self.quiet and not self.json:
            print(text)

    def note(self, text: str) -> None:
        """A line beside the results, on standard error."""
        if not self.quiet:
            print(text, file=sys.stderr)

    def rows(self, table: "pa.Table | Sequence[dict[str, Any]]") -> None:
        """Rows as a JSON array, one row a line."""
        rows = table if isinstance(table, Sequence) else table.to_pylist()
        print("[" + ",".join("\n" + json.dumps(row, allow_nan=False, default=str) for row in rows) + "\n]")


def console() -> "Console":
    """Standard output, as wide as the terminal."""
    from rich.console import Console

    return Console()


@contextmanager
def observed(output: Output) -> "Iterator[Observer]":
    """Progress on standard error while the block runs."""
    with ExitStack() as open_until_done:
        yield _Watch(output, open_until_done)


class _Watch:
    """Shows how a run goes on; meets `study.Observer`."""

    def __init__(self, output: Output, open_until_done: ExitStack) -> None:
        self._output = output
        self._open = open_until_done
        self._shown: Shown | None = None

    def planned(self, plan: "Plan", todo: "Sequence[Cell]", path: Path) -> None:
        """Open the bar."""
        done = len(plan.cells) - len(todo)
        if done:
            self.note(f"{path}: {done} of {len(plan.cells)} cells are done")
        if not self._output.quiet:
            from mshare_bench.report.progress import progress

            self._shown = self._open.enter_context(progress(len(todo)))

    def finished(self, tables: "Tables") -> None:
        """Move it on, and tell at once what failed."""
        if self._shown is not None:
            self._shown.advance(tables)

    def note(self, message: str) -> None:
        """A line above it."""
        if self._shown is not None:
            self._shown.note(message)
        else:
            self._output.note(message)


def one_line(error: BaseException) -> str:
    """A message without its line breaks."""
    return " ".join(str(error).split())


class ArgumentParser(argparse.ArgumentParser):
    """Answers a mistake as everything here does: one line, raised."""

    def error(self, message: str) -> NoReturn:
        """Raise it as a `ConfigError`."""
        raise ConfigError(f"{message}; {' '.join(self.format_usage().split())}")


def listed(text: str) -> list[str]:
    """Parts of a comma list."""
    return [part for part in (part.strip() for part in text.split(",")) if part]


def share(key: str, text: str) -> float:
    """Read a share, written `5%` or `0.05`.

    Raises
    ------
    ConfigError
        When it is neither.
    """
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < float("inf"):
        raise ConfigError(f"{key}={text}: not a percentage such as 5%")
    return share
