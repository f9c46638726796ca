"""Hydra at the front: its flags, its grammar, its help and its completion; what it makes of the arguments is an `Invocation`."""

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from mshare_bench.config.composer import CONFIG_MODULE, Composer
from mshare_bench.config.overrides import for_hydra, parse_overrides, with_default_experiment
from mshare_bench.config.words import BASH, completions, help_text
from mshare_bench.errors import ConfigError, MshareBenchError

__all__ = ["Invocation", "complete", "invoke"]


@dataclass(frozen=True, slots=True)
class Invocation:
    """What Hydra made of the arguments.

    Attributes
    ----------
    overrides
        For the planner.
    multirun
        `-m`, or `hydra.mode: MULTIRUN` of an experiment.
    config_name, config_dir
        As its flags name them.
    """

    overrides: tuple[str, ...]
    multirun: bool
    config_name: str = "config"
    config_dir: str | None = None


def invoke(arguments: Sequence[str], program: str) -> Invocation | None:
    """Let Hydra read the arguments; None where they are answered by that (`--help`, `--cfg job`, `--info`).

    Parameters
    ----------
    arguments
        Overrides and flags.
    program
        How the program and its verb are called, for messages.

    Raises
    ------
    ConfigError
        For flags and overrides that Hydra does not take.
    """
    if arguments and set(arguments) <= {"--help", "-h"}:
        print(help_text(program), end="")
        return None
    from hydra._internal.utils import _run_hydra, get_args_parser

    from mshare_bench.config.sweeper import PlanSweeper, register_plugins

    register_plugins()
    parser: argparse.ArgumentParser = get_args_parser()
    parser.prog = program
    parser.error = _refuse  # type: ignore[method-assign]
    args = parser.parse_intermixed_args(list(arguments))  # -m may stand anywhere
    if args.experimental_rerun is not None:
        raise ConfigError(f"--experimental-rerun={args.experimental_rerun}: a pickle is not read; give the overrides")
    name = args.config_name or "config"
    given = list(args.overrides)
    overrides = with_default_experiment(given) if name == "config" else given
    if not (args.cfg or args.help or args.hydra_help or args.info or args.shell_completion):
        if not args.multirun:
            return _single(overrides, name, args.config_dir)
        # Our sweeper would only hand the overrides on; where they are about Hydra itself, it has a say in that.
        if not any(one.of_hydra for one in parse_overrides(overrides)):
            return Invocation(tuple(overrides), True, name, args.config_dir)
    received: list[Invocation] = []

    def multiple(_overrides: list[str]) -> None:
        received.append(Invocation(tuple(overrides), True, name, args.config_dir))

    args.overrides = for_hydra(overrides)
    PlanSweeper.receive = multiple
    try:
        with _raw_errors():
            _run_hydra(args, parser, _nothing, f"pkg://{CONFIG_MODULE}", name)
    except SystemExit as done:  # Hydra ends so after --help and --hydra-help
        if done.code:
            raise ConfigError(" ".join([program, *arguments]) + ": not understood") from done
        return None
    except MshareBenchError:
        raise
    except Exception as error:
        raise _explained(overrides, name, args.config_dir, error) from error
    finally:
        PlanSweeper.receive = None
    return received[0] if received else None


def complete(arguments: Sequence[str], verbs: Sequence[str]) -> None:
    """Answer `-sc install=bash`, `uninstall=bash` and `query=bash`; other shells are Hydra's.

    Raises
    ------
    ConfigError
        For a shell that Hydra does not know.
    """
    if list(arguments) == ["query=bash"]:
        for word in completions(os.environ.get("COMP_LINE", ""), verbs):
            print(word)
        return
    if list(arguments) in (["install=bash"], ["uninstall=bash"]):
        print(BASH if arguments[0] == "install=bash" else "complete -r mshare-bench")
        return
    from hydra._internal.utils import _run_hydra, get_args_parser

    from mshare_bench.config.sweeper import register_plugins

    register_plugins()
    parser = get_args_parser()
    try:
        with _raw_errors():
            _run_hydra(parser.parse_args(["-sc", *arguments]), parser, _nothing, f"pkg://{CONFIG_MODULE}", "config")
    except Exception as error:
        raise ConfigError(f"-sc {' '.join(arguments)}: {str(error).strip().splitlines()[0]}") from error


def _nothing(_config: Any) -> None:
    """Stand in for a task: completion runs none."""


def _refuse(message: str) -> NoReturn:
    raise ConfigError(f"{message}; see mshare-bench run --help")


def _single(overrides: Sequence[str], config_name: str, config_dir: str | None) -> Invocation:
    """A run without flags: Hydra's job would only hand the overrides on, and the planner composes anyhow."""
    parsed = parse_overrides(overrides)
    experiments = [one.text for one in parsed if one.key in ("experiment", "hydra.mode") and not one.axis]
    axis = next((one for one in parsed if one.axis), None)
    multirun = axis is not None and bool(experiments) and Composer(config_name, config_dir).multirun(experiments)
    if axis is not None and not multirun:
        raise ConfigError(f"{axis.text}: several values make a sweep; say: mshare-bench run -m {' '.join(overrides)}")
    return Invocation(tuple(overrides), multirun, config_name, config_dir)


def _explained(
    overrides: Sequence[str], config_name: str, config_dir: str | None, error: Exception
) -> MshareBenchError:
    """Our own reason where we find one: it names the near ones; Hydra's otherwise."""
    composer = Composer(config_name, config_dir)
    try:
        composer.check([one for one in parse_overrides(overrides) if not one.of_hydra])
    except MshareBenchError as reason:
        return reason
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ConfigError(": ".join(lines[:2]) or type(error).__name__)


@contextmanager
def _raw_errors() -> Iterator[None]:
    # Hydra prints its own errors and exits with 1 unless it is told to let them through.
    # It also sets the root logger up, which is its caller's.
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before
        sys.stdout.flush()
