"""What can be typed after `run`, read from the configuration files as they lie there: the help, and what a shell completes.

Neither composes anything, so neither waits for Hydra. What is composed (`--cfg job`, `--help` beside overrides)
is Hydra's to show.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mshare_bench.config.composer import flatten, user_config_folder
from mshare_bench.config.keys import CHOICES

__all__ = ["BASH", "completions", "help_text"]

_BUNDLED = Path(__file__).parents[1] / "conf"
_PRIMARY = "config.yaml"
_OF_CHOICES = ("access", "mechanism", "placement", "sweep", "tracking", "workload")
"""Groups whose choices have keys that are set one by one."""
_CHOOSING = ("name", "kind")  # keys of a choice's file that say which choice it is
_COMPOSED_ONLY = ("defaults", "hydra")
_FLAGS = (
    "--cfg",
    "--config-dir",
    "--config-name",
    "--help",
    "--hydra-help",
    "--info",
    "--json",
    "--multirun",
    "--quiet",
)
_LISTS_KEYS = ("run", "plan")

BASH = """_mshare_bench()
{
    local typed="${COMP_LINE:0:COMP_POINT}"
    typed="${typed##* }"
    # Readline has cut the word at signs such as = and puts back what is before them.
    local kept="${typed%"$2"}"
    mapfile -t COMPREPLY < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" "$1" -sc query=bash 2>/dev/null)
    COMPREPLY=("${COMPREPLY[@]#"$kept"}")
}
complete -o nospace -o default -F _mshare_bench mshare-bench
"""
"""The script by which bash asks."""


def help_text(program: str) -> str:
    """Help of `run` and `plan`: the config groups, and the primary configuration with what it says of its keys."""
    groups = "\n".join(f"{group}: {', '.join(choices)}" for group, choices in _groups().items())
    return (
        f"{program} is powered by Hydra: {program} [key=value ...] [-m] [--cfg job] [--config-dir DIR] [--json] [--quiet]\n\n"
        "== Configuration groups ==\n"
        "Compose your configuration from those groups (group=option)\n\n"
        f"{groups}\n\n"
        "== Config ==\n"
        "Override anything in the config (foo.bar=value), and the options of what you choose (mechanism.interface=flag);\n"
        f"{program} --cfg job key=value ... shows what is composed\n\n"
        f"{_primary()}\n\n"
        "Use --hydra-help to view Hydra specific help\n"
    )


def completions(line: str, verbs: Sequence[str]) -> list[str]:
    """What the last word of a command line can become.

    Parameters
    ----------
    line
        Up to the cursor, the program's name first.
    verbs
        Those that there are.

    Returns
    -------
    list of str
        Whole words; one that is done ends in a blank.
    """
    words = line.split()
    word = "" if line[-1:].isspace() or not words else words.pop()
    if len(words) < 1:
        return []
    if len(words) == 1:
        return [f"{verb} " for verb in verbs if verb.startswith(word)]
    if words[1] not in _LISTS_KEYS:
        return []
    if word.startswith("-"):
        return [f"{flag} " for flag in _FLAGS if flag.startswith(word)]
    sign = re.match(r"\+*", word)
    plus = sign[0] if sign else ""
    key, equals, value = word[len(plus) :].partition("=")
    if equals:
        before, comma, last = value.rpartition(",")
        return [f"{plus}{key}={before}{comma}{one}" for one in _values(key) if one.startswith(last)]
    return [f"{plus}{one}" for one in _keys(key) if one.startswith(key)]


def _values(key: str) -> Sequence[str]:
    return _groups().get(key) or CHOICES.get(key) or ()


def _keys(typed: str) -> list[str]:
    """Keys and groups with `=`, sections with their dot; in a section its keys."""
    section, dot, _ = typed.partition(".")
    leaves = list(_leaves(_load(_BUNDLED / _PRIMARY)))
    if not dot:
        found = {f"{group}=" for group in _groups()} | {f"{group}." for group in _OF_CHOICES}
        return sorted(found | {f"{key.partition('.')[0]}." if "." in key else f"{key}=" for key in leaves})
    if section in _OF_CHOICES:
        for path in _files(section):
            tree = _load(path)
            if isinstance(tree, dict) and isinstance(
                tree.get(section), dict
            ):  # `# @package _global_`: it says the section
                tree = tree[section]
            leaves += [f"{section}.{key}" for key in _leaves(tree) if key not in _CHOOSING]
    return sorted({f"{key}=" for key in leaves if key.startswith(f"{section}.")})


def _leaves(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        yield from (key for key, _ in flatten({key: tree[key] for key in tree if key not in _COMPOSED_ONLY}))


def _load(path: Path) -> Any:
    import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(path.read_bytes(), Loader=loader)
    except (OSError, yaml.YAMLError):  # the user's own, half-written: a run says what is wrong with it
        return None


def _groups() -> dict[str, list[str]]:
    """Config groups with their choices."""
    names = sorted({path.name for folder in _folders() for path in folder.iterdir() if path.is_dir()})
    found = {name: sorted({path.stem for path in _files(name)}) for name in names}
    return {name: choices for name, choices in found.items() if choices}


def _files(group: str) -> Iterable[Path]:
    return [path for folder in _folders() for path in (folder / group).glob("*.yaml")]


def _folders() -> list[Path]:
    return [folder for folder in (_BUNDLED, user_config_folder()) if folder.is_dir()]


def _primary() -> str:
    """The primary configuration without what is only for composing; a comment belongs to the key below it."""
    blocks = re.split(r"\n(?=\S)", (_BUNDLED / _PRIMARY).read_text().strip())
    kept, comment = [], ""
    for block in blocks:
        if block.startswith("#"):
            comment += f"{block}\n"
            continue
        if not block.startswith(tuple(f"{name}:" for name in _COMPOSED_ONLY)):
            kept.append(f"{comment}{block}")
        comment = ""
    return "\n".join(kept)
