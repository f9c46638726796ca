"""The command line: `mshare-bench VERB ...`. Parses, calls, prints; a verb whose room is not installed is not there."""

import argparse
import atexit
import dataclasses
import gc
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mshare_bench.errors import ConfigError, GuardError, MshareBenchError
from mshare_bench.terminal import ArgumentParser, Output, console, listed, observed, one_line, share

if TYPE_CHECKING:
    from mshare_bench.config.request import Request
    from mshare_bench.study import Result

__all__ = ["VERBS", "Output", "Verb", "main"]

_PROGRAM = "mshare-bench"
_GUARD_WORDS = "would fit"


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
    # The process gives back all its memory as it ends; without this Python looks for cycles in all of it first.
    atexit.register(gc.freeze)
    try:
        return _main(given)
    except MshareBenchError as error:
        print(f"{_PROGRAM}: {one_line(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        kept = "; what finished is kept, the same command with its out= goes on" if given[:1] == ["run"] else ""
        print(f"{_PROGRAM}: interrupted{kept}", file=sys.stderr)
        return 130
    except SystemExit as done:  # argparse ends so after --help
        return int(done.code or 0)
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
    with redirect_stdout(sys.stderr), observed(output) as observer:
        result = run_request(request, observer)
    _print(result, output)
    return _exit_code(result, named=any(one.mechanism_named for one in request.point_sets))


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

        print_plan(rows, console())
    return 0


def _show(arguments: list[str], output: Output) -> int:
    given = _parsed("show", arguments, lambda parser: parser.add_argument("store", help="folder of a run's results"))
    from mshare_bench.study import load

    _print(load(given.store), output)
    return 0


def _report(arguments: list[str], output: Output) -> int:
    given = _parsed("report", arguments, lambda parser: parser.add_argument("store", help="folder of a run's results"))
    from mshare_bench.study import load, write_report

    path = write_report(load(given.store).store)
    output.say(str(path))
    if output.json:
        output.rows([{"report": str(path)}])
    return 0


def _compare(arguments: list[str], output: Output) -> int:
    def describe(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("first", help="before: a results folder, a sweep's id or a baseline's name")
        parser.add_argument("second", help="after")
        parser.add_argument("--across", default="", help="what may differ: hardware, kernel or facts, comma-separated")
        parser.add_argument("--columns", default="", help="figures to compare, comma-separated; all by default")
        parser.add_argument(
            "--drift",
            metavar="PERCENT",
            help="of runs that did not take turns, times count that differ by more (experiment=aa twice shows how much is usual)",
        )
        parser.add_argument("--fail-if-worse", metavar="PERCENT", help="end with 4 where a figure is worse by more")

    given = _parsed("compare", arguments, describe)
    from mshare_bench.results.baseline import resolve
    from mshare_bench.results.compare import compare

    threshold = 0.0 if given.fail_if_worse is None else share("--fail-if-worse", given.fail_if_worse)
    drift = None if given.drift is None else share("--drift", given.drift)
    comparison = compare(
        resolve(given.first), resolve(given.second), listed(given.across), listed(given.columns) or None, drift
    )
    if output.json:
        from mshare_bench.report.comparison import comparison_json

        print(comparison_json(comparison))
    elif not output.quiet:
        from mshare_bench.report.comparison import print_comparison

        print_comparison(comparison, (given.first, given.second), threshold, console())
    return 4 if given.fail_if_worse is not None and comparison.worse(threshold) else 0


def _baseline(arguments: list[str], output: Output) -> int:
    def describe(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("action", choices=("save", "list"))
        parser.add_argument("name", nargs="?", help="of the baseline, letters, digits, . _ and -")
        parser.add_argument("store", nargs="?", help="folder of a run's results")
        parser.add_argument("--replace", action="store_true", help="overwrite the baseline of that name")

    given = _parsed("baseline", arguments, describe)
    from mshare_bench.results.baseline import list_baselines, save_baseline

    if given.action == "save":
        if given.store is None:
            raise ConfigError(f"baseline {' '.join(arguments)}: say {_PROGRAM} baseline save NAME STORE")
        from mshare_bench.study import load

        output.say(str(save_baseline(given.name, load(given.store).store, replace=given.replace)))
        return 0
    found = list_baselines()
    if output.json:
        output.rows([dataclasses.asdict(one) for one in found])
    for one in found:
        output.say(f"{one.name}  {one.rows} rows  {one.created}  {one.path}")
    if not found:
        output.note(f"no baselines; {_PROGRAM} baseline save NAME STORE makes one")
    return 0


def _audit(arguments: list[str], output: Output) -> int:
    def describe(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--pid", action="append", metavar="PID", help="a pid, or a pattern of names; again for more"
        )
        parser.add_argument("--cgroup", help="a cgroup and what is below it")
        parser.add_argument("--all", action="store_true", help="all processes (the default)")
        parser.add_argument("--top", default="15", metavar="N", help="rows of each table")
        parser.add_argument(
            "--arrow", metavar="FILE", help="objects to FILE, processes to one with -processes in its name"
        )
        parser.add_argument("--out", metavar="FOLDER", help="keep it as a run: results in FOLDER, report, MLflow")
        parser.add_argument("--no-tracking", action="store_true", help="with --out: without MLflow")

    given = _parsed("audit", arguments, describe)
    if given.all and (given.pid or given.cgroup):
        raise ConfigError(f"--all {' '.join(arguments)}: names some processes as well; say one or the other")
    from mshare_bench.audit import audit_host
    from mshare_bench.domain.units import parse_count
    from mshare_bench.results.files import write_arrow

    audit = audit_host(given.pid, given.cgroup, top=parse_count(given.top, "--top", at_least=1))
    if given.arrow is not None:
        path = Path(given.arrow)
        write_arrow(path, audit.objects_table())
        write_arrow(path.with_name(f"{path.stem}-processes{path.suffix}"), audit.processes_table())
    if output.json:
        print(json.dumps(audit.to_dict(), allow_nan=False, default=str))
    elif not output.quiet:
        from mshare_bench.audit.screen import render

        render(audit, console())
    if given.out is not None:
        from mshare_bench.study import keep_audit

        with redirect_stdout(sys.stderr):
            kept = keep_audit(audit, given.out, output.note, track=not given.no_tracking)
        if not output.json:
            output.say(f"results: {kept.path}")
            if kept.link:
                output.say(f"in MLflow: {kept.link}")
    return 0


def _ui(arguments: list[str], _output: Output) -> int:
    given = _parsed(
        "ui", arguments, lambda parser: parser.add_argument("uri", nargs="?", help="folder, file or server")
    )
    from mshare_bench.tracking.server import serve_ui

    return serve_ui(given.uri)


def _sync(arguments: list[str], output: Output) -> int:
    def describe(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("store", help="folder of a run's results")
        parser.add_argument("uri", nargs="?", help="tracking server; the one that the run named by default")

    given = _parsed("sync", arguments, describe)
    from mshare_bench.study import sync

    link = sync(given.store, output.note, given.uri)
    if link is None:
        return 1
    output.say(f"in MLflow: {link}")
    if output.json:
        output.rows([{"link": link}])
    return 0


def _calibrate(arguments: list[str], output: Output) -> int:
    def describe(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--budget", default="90s", metavar="TIME", help="how long it may take (60s, 5m)")
        parser.add_argument("--name", default="here", help="of the profile; cost=NAME uses it")
        parser.add_argument(
            "--out", metavar="FOLDER", help="where the profile goes; your own configurations by default"
        )
        parser.add_argument(
            "--at-scale",
            action="store_true",
            help="predict 1 GiB and 500 processes, then measure that: minutes more; ends with 4 where a quiet machine is missed",
        )

    given = _parsed("calibrate", arguments, describe)
    from mshare_bench.calibration.calibrate import calibrate, write_profile
    from mshare_bench.calibration.scale import MEDIAN_ERROR, WORST_ERROR, at_scale, judge
    from mshare_bench.config.composer import user_config_folder
    from mshare_bench.domain.units import parse_duration

    budget = parse_duration(given.budget, "--budget") / 1e9
    found = calibrate(budget, given.name, output.note, checks=tuple(at_scale()) if given.at_scale else None)
    verdict = judge(found.checks)
    folder = Path(given.out) if given.out else user_config_folder() / "cost"
    path = write_profile(found.model, folder)
    rows = found.costs()
    if output.json:
        output.rows(rows)
    elif not output.quiet:
        from mshare_bench.report.calibration import print_checks, print_costs

        print_costs(rows, console())
        print_checks([{**dataclasses.asdict(one), "error": one.error} for one in found.checks], console())
    for name, reason in found.lacking.items():
        output.note(f"{name}: {reason}")
    state = "quiet" if found.quiet else "noisy: what is wider than half of itself is null"
    output.say(f"A/A runs differ by {found.drift:.1%}: the machine is {state}")
    if verdict is not None:
        target = f"; held to {MEDIAN_ERROR:.0%} and {WORST_ERROR:.0%} on a quiet machine" if given.at_scale else ""
        output.say(
            f"predictions beyond the sizes fitted are off by {verdict.median:.0%} at the median, "
            f"{verdict.worst:.0%} at worst{target}"
        )
    output.say(f"{path}: use it with cost={found.model.name}")
    return 4 if given.at_scale and found.quiet and verdict is not None and not verdict.passed else 0


def _validate(arguments: list[str], output: Output) -> int:
    def describe(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--targets", metavar="FILE", help="further targets (docs/validation.md)")
        parser.add_argument(
            "overrides", nargs="*", metavar="key=value", help="real.scale=small, cost=, out=, tracking=, ..."
        )

    given = _parsed("validate", arguments, describe)
    from mshare_bench.study import validate

    with redirect_stdout(sys.stderr), observed(output) as observer:
        found = validate(*given.overrides, targets=given.targets, observer=observer)
    if output.json:
        output.rows(found.table)
    elif not output.quiet:
        from mshare_bench.report.validation import print_validation

        print_validation(found.table, console())
        print(f"results: {found.path}")
        if found.link:
            print(f"in MLflow: {found.link}")
    return found.exit_code


def _doctor(arguments: list[str], output: Output) -> int:
    _parsed("doctor", arguments, lambda _parser: None)
    from mshare_bench.real.doctor import examine

    findings = [dataclasses.asdict(one) for one in examine()]
    if output.json:
        output.rows(findings)
    elif not output.quiet:
        from mshare_bench.report.doctor import print_findings

        print_findings(findings, console())
    return 0


VERBS = {
    "run": Verb("run cells: key=value ..., -m for axes; without arguments the headline", _run),
    "plan": Verb(
        "the same arguments: which cells would run, what they need, and why", _plan, "mshare_bench.report.plan"
    ),
    "show": Verb("STORE: the table of an earlier run", _show),
    "report": Verb("STORE: write its report.html again", _report, "mshare_bench.report.html"),
    "compare": Verb("A B: what changed between two runs, and whether it is more than noise", _compare),
    "baseline": Verb("save NAME STORE, or list: runs to hold later ones against", _baseline),
    "audit": Verb("what this host duplicates right now, and what sharing would save", _audit, "mshare_bench.audit"),
    "calibrate": Verb("measure this machine's unit costs into a cost profile", _calibrate, "mshare_bench.calibration"),
    "validate": Verb(
        "predicted beside measured, published targets, out-of-sample checks",
        _validate,
        "mshare_bench.report.validation",
    ),
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


def _parsed(
    verb: str, arguments: list[str], describe: Callable[[argparse.ArgumentParser], object]
) -> argparse.Namespace:
    parser = ArgumentParser(prog=f"{_PROGRAM} {verb}", description=VERBS[verb].summary, allow_abbrev=False)
    describe(parser)
    return parser.parse_args(arguments)


def _print(result: "Result", output: Output) -> None:
    cells = result.cells
    if output.json:
        output.rows(cells)
        return
    if output.quiet:
        return
    from mshare_bench.report.screen import print_results
    from mshare_bench.report.studies import TABLES

    print_results({name: result.table(name) for name in ("figures", *TABLES)}, console())
    print(f"results: {result.path}")
    if result.link:
        print(f"in MLflow: {result.link}")


def _exit_code(result: "Result", named: bool) -> int:
    """0, 1 or 3; a mechanism that this machine lacks is no failure of a run that named none (`mechanism=all`)."""
    from mshare_bench.report.pairs import without

    cells = result.cells.select(["status", "error"])
    bad = without(cells, "status", "ok").to_pylist()
    if bad and len(bad) == len(cells) and all(_GUARD_WORDS in (row["error"] or "") for row in bad):
        return GuardError.exit_code
    skipped = sum(row["status"] == "skipped" for row in bad)
    allowed = result.refused if named or skipped == len(cells) else skipped
    return 0 if len(bad) <= allowed else 1
