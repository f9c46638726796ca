"""The command line: `mshare-bench VERB ...`. Parses, calls, prints; a verb whose room is not installed is not there."""

import dataclasses
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mshare_bench.errors import ConfigError, GuardError, MshareBenchError

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from rich.console import Console

    from mshare_bench.config.request import Request
    from mshare_bench.domain.cell import Cell
    from mshare_bench.domain.ports import Tables
    from mshare_bench.report.progress import Shown
    from mshare_bench.study import Observer, Result
    from mshare_bench.sweep.plan import Plan

__all__ = ["VERBS", "Output", "Verb", "main"]

_PROGRAM = "mshare-bench"
_GUARD_WORDS = "would fit"


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


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb of the command line.

    Attributes
    ----------
    summary
        One line of the help.
    call
        Takes the arguments after the verb and how to print; returns the exit code.
    needs
        Module without which the verb is not there.
    """

    summary: str
    call: Callable[[list[str], Output], int]
    needs: str = "mshare_bench"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        Without the program's name; None for those of this process.

    Returns
    -------
    int
        0 done; 1 some cells failed or were skipped; 2 bad usage or configuration; 3 refused by the memory guard; 4 a comparison
        or a target failed; 130 interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _main(given)
    except MshareBenchError as error:
        print(f"{_PROGRAM}: {_line(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(
            f"{_PROGRAM}: interrupted; what finished is kept, the same command with its out= goes on", file=sys.stderr
        )
        return 130
    except BrokenPipeError:  # whoever read us has gone; nothing more can be said
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _main(given: list[str]) -> int:
    verbs = _present()
    if "-sc" in given[:2] or "--shell-completion" in given[:2]:
        from mshare_bench.config.front import complete

        complete([one for one in given if not one.startswith("-") and one not in verbs], sorted(verbs))
        return 0
    if not given or given[0] in ("-h", "--help", "help"):
        print(_usage(verbs))
        return 0 if given else 2
    if given[0] == "--version":
        import importlib.metadata

        print(f"{_PROGRAM} {importlib.metadata.version(_PROGRAM)}")
        return 0
    if given[0] not in verbs:
        from mshare_bench.config.keys import near

        raise ConfigError(f"{given[0]}: no such verb; {near(given[0], verbs)}")
    rest = [one for one in given[1:] if one not in ("--json", "--quiet", "-q")]
    output = Output(json="--json" in given, quiet="--quiet" in given or "-q" in given)
    return verbs[given[0]].call(rest, output)


def _run(arguments: list[str], output: Output) -> int:
    request = _request(arguments, "run")
    if request is None:
        return 0
    from mshare_bench.study import run_request

    # What libraries print while cells run belongs beside the results, not among them.
    with redirect_stdout(sys.stderr), _observed(output) as observer:
        result = run_request(request, observer)
    _print(result, output)
    return _exit_code(result)


def _plan(arguments: list[str], output: Output) -> int:
    request = _request(arguments, "plan")
    if request is None:
        return 0
    from mshare_bench.study import outlook

    rows = outlook(request)
    if output.json:
        output.rows(rows)
    else:
        from mshare_bench.report.plan import print_plan

        print_plan(rows, _console())
    return 0


def _show(arguments: list[str], output: Output) -> int:
    from mshare_bench.study import load

    _print(load(_only(arguments, "show", "STORE")), output)
    return 0


def _report(arguments: list[str], output: Output) -> int:
    from mshare_bench.study import load, write_report

    path = write_report(load(_only(arguments, "report", "STORE")).store)
    output.say(str(path))
    if output.json:
        output.rows([{"report": str(path)}])
    return 0


def _ui(arguments: list[str], _output: Output) -> int:
    from mshare_bench.tracking.server import serve_ui

    if len(arguments) > 1:
        raise ConfigError(f"{_PROGRAM} ui {' '.join(arguments)}: say {_PROGRAM} ui [URI]")
    return serve_ui(arguments[0] if arguments else None)


def _sync(arguments: list[str], output: Output) -> int:
    from mshare_bench.study import sync

    uri = arguments.pop() if len(arguments) == 2 else None
    link = sync(_only(arguments, "sync", "STORE [URI]"), output.note, uri)
    if link is None:
        return 1
    output.say(f"in MLflow: {link}")
    if output.json:
        output.rows([{"link": link}])
    return 0


def _doctor(arguments: list[str], output: Output) -> int:
    from mshare_bench.real.doctor import examine

    if arguments:
        raise ConfigError(f"{arguments[0]}: doctor takes no argument")
    findings = examine()
    if output.json:
        output.rows([dataclasses.asdict(one) for one in findings])
    else:
        from mshare_bench.report.doctor import print_findings

        print_findings([dataclasses.asdict(one) for one in findings], _console())
    return 0


VERBS = {
    "run": Verb("run cells: key=value ..., -m for axes; without arguments the headline", _run),
    "plan": Verb(
        "the same arguments: which cells would run, what they need, and why", _plan, "mshare_bench.report.plan"
    ),
    "show": Verb("STORE: the table of an earlier run", _show),
    "report": Verb("STORE: write its report.html again", _report, "mshare_bench.report.html"),
    "doctor": Verb("what this machine can run, and how to get the rest", _doctor, "mshare_bench.real.doctor"),
    "ui": Verb("[URI]: the MLflow UI, on loopback", _ui, "mshare_bench.tracking.mlflow"),
    "sync": Verb("STORE [URI]: send to MLflow what is on disk only", _sync, "mshare_bench.tracking.mlflow"),
}
"""Every verb there is; those that `needs` finds are offered."""


def _present() -> dict[str, Verb]:
    found = {}
    for name, verb in VERBS.items():
        try:
            if importlib.util.find_spec(verb.needs) is not None:
                found[name] = verb
        except ModuleNotFoundError:  # the room itself is absent
            continue
    return found


def _usage(verbs: dict[str, Verb]) -> str:
    lines = [f"usage: {_PROGRAM} VERB [arguments] [--json] [--quiet]", ""]
    lines += [f"  {name:10} {verb.summary}" for name, verb in verbs.items()]
    return "\n".join([*lines, "", f"{_PROGRAM} run --help lists the keys. Bash completes: {_completion()}"])


def _completion() -> str:
    return f'eval "$({_PROGRAM} -sc install=bash)"'


def _request(arguments: list[str], verb: str) -> "Request | None":
    from mshare_bench.config.front import invoke

    invocation = invoke(arguments, f"{_PROGRAM} {verb}")
    if invocation is None:
        return None
    from mshare_bench.config.request import read_request

    return read_request(
        invocation.overrides,
        multirun=invocation.multirun,
        config_name=invocation.config_name,
        config_dir=invocation.config_dir,
    )


def _only(arguments: list[str], verb: str, what: str) -> str:
    if len(arguments) != 1:
        raise ConfigError(f"{_PROGRAM} {verb} {' '.join(arguments)}: say {_PROGRAM} {verb} {what}")
    return arguments[0]


def _print(result: "Result", output: Output) -> None:
    cells = result.cells
    if output.json:
        output.rows(cells)
        return
    if output.quiet:
        return
    from mshare_bench.report.screen import print_results

    print_results({"cells": cells}, _console())
    print(f"results: {result.path}")
    if result.link:
        print(f"in MLflow: {result.link}")


def _console() -> "Console":
    from rich.console import Console

    return Console()


@contextmanager
def _observed(output: Output) -> "Iterator[Observer]":
    """Progress on standard error while the block runs."""
    with ExitStack() as open_until_done:
        yield _Watch(output, open_until_done)


class _Watch:
    """Shows how a run goes on; meets `study.Observer`."""

    def __init__(self, output: Output, open_until_done: ExitStack) -> None:
        self._output = output
        self._open = open_until_done
        self._shown: Shown | None = None

    def planned(self, plan: "Plan", todo: "Sequence[Cell]", path: "Path") -> None:
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


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _exit_code(result: "Result") -> int:
    cells = result.cells.select(["status", "error"]).to_pylist()
    bad = [row for row in cells if row["status"] != "ok"]
    if len(bad) <= result.refused:
        return 0
    if len(bad) == len(cells) and all(_GUARD_WORDS in (row["error"] or "") for row in bad):
        return GuardError.exit_code
    return 1
