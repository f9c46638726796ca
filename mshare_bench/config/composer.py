"""Composes configurations with Hydra: once per distinct choice of config groups, whatever the number of cells."""

import fnmatch
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mshare_bench.config.keys import near
from mshare_bench.config.overrides import Override
from mshare_bench.errors import ConfigError

__all__ = ["CONFIG_MODULE", "MECHANISM_OPTIONS", "Composer", "Composition", "flatten", "user_config_folder"]

CONFIG_MODULE = "mshare_bench.conf"
MECHANISM_OPTIONS = "mechanism_options"
"""Where a composition holds the options of every mechanism, by its name."""


def user_config_folder() -> Path:
    """The user's own configurations, found after the bundled ones: `$XDG_CONFIG_HOME/mshare-bench/conf`."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "mshare-bench" / "conf"


@dataclass(frozen=True, slots=True)
class Composition:
    """What a choice of config groups composes to.

    Attributes
    ----------
    values
        Every leaf by its dotted key; lists stay lists. Interpolations are as written.
    interpolated
        Whether a value interpolates (`${processes}`), so that setting a leaf can change others.
    multirun
        Whether it asks for `-m` by itself.
    """

    values: Mapping[str, Any]
    interpolated: bool
    multirun: bool = False

    def with_values(self, leaves: Mapping[str, Any]) -> Mapping[str, Any]:
        """Set leaves without a compose; what a compose with these leaves as overrides would give.

        Raises
        ------
        ConfigError
            For an interpolation that leads nowhere.
        """
        if not self.interpolated:
            return {**self.values, **leaves}
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        config = OmegaConf.create({})
        for key, value in {**self.values, **leaves}.items():
            OmegaConf.update(config, key, value, merge=False)
        try:
            return dict(flatten(OmegaConf.to_container(config, resolve=True)))
        except OmegaConfBaseException as error:
            raise ConfigError(_one_line(error)) from error


class Composer:
    """Composes the primary configuration with overrides; what was composed once is kept.

    Parameters
    ----------
    config_name
        Primary configuration.
    config_dir
        Another folder to look in, as `--config-dir` names it.
    """

    def __init__(self, config_name: str = "config", config_dir: str | None = None) -> None:
        from hydra import initialize_config_module
        from hydra.core.global_hydra import GlobalHydra

        from mshare_bench.config.sweeper import register_plugins

        register_plugins()
        self._config_name = config_name
        self._search_overrides = [f"hydra.searchpath=['file://{Path(config_dir).resolve()}']"] if config_dir else []
        if config_dir and not Path(config_dir).is_dir():
            raise ConfigError(f"--config-dir={config_dir}: no such folder")
        with initialize_config_module(CONFIG_MODULE, version_base="1.3"):
            self._loader = GlobalHydra.instance().config_loader()
        self._composed: dict[tuple[str, ...], Composition] = {}
        self._options: dict[str, list[str]] = {}
        self._groups: frozenset[str] | None = None
        self._mechanisms: Mapping[str, Any] | None = None

    @property
    def groups(self) -> frozenset[str]:
        """Names of the config groups."""
        if self._groups is None:
            self._groups = frozenset(name for name in self._loader.list_groups("") if name != "hydra")
        return self._groups

    def options(self, group: str) -> list[str]:
        """Names of the configurations of a group."""
        if group not in self._options:
            self._options[group] = sorted(
                self._loader.get_group_options(group, config_name=self._config_name, overrides=self._search_overrides)
            )
        return self._options[group]

    def expand(self, override: Override) -> tuple[Any, ...]:
        """Values of an override, those that a `glob(...)` matches among them.

        Raises
        ------
        ConfigError
            When it matches nothing.
        """
        if override.prefix != "glob":
            return override.values
        include, exclude = override.values

        def matches(name: str, patterns: Sequence[str]) -> bool:
            return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)

        found = tuple(
            name for name in self.options(override.key) if matches(name, include) and not matches(name, exclude)
        )
        if not found:
            raise ConfigError(f"{override.text}: matches none of {', '.join(self.options(override.key)) or 'no group'}")
        return found

    def compose(self, overrides: Sequence[str]) -> Composition:
        """Compose with these overrides.

        Raises
        ------
        ConfigError
            With the first line of Hydra's reason.
        """
        key = tuple(overrides)
        if key not in self._composed:
            self._composed[key] = self._compose(key)
        return self._composed[key]

    def composed_with(self, key: str, value: Any) -> Composition | None:
        """Something that was composed already and has that value there; None where nothing has."""
        return next((one for one in self._composed.values() if one.values.get(key) == value), None)

    def multirun(self, overrides: Sequence[str]) -> bool:
        """Whether these overrides ask for a multirun by themselves (`hydra.mode: MULTIRUN` of an experiment)."""
        return self.compose(overrides).multirun

    def check(self, overrides: Sequence[Override]) -> None:
        """Check every key, and every choice of a group, against what there is.

        Raises
        ------
        ConfigError
            Naming the near ones.
        """
        for one in overrides:
            if one.key in self.groups and not one.of_hydra and one.prefix != "~":
                self._check_choice(one)
        known = self._known(overrides)
        options = {f"mechanism.{key.split('.', 2)[2]}" for key in known if key.startswith(f"{MECHANISM_OPTIONS}.")}
        shown = {key for key in known if not key.startswith(f"{MECHANISM_OPTIONS}.")} | options
        shown = {key for key in shown if not key.endswith((".name", ".kind")) or key in options - {"mechanism.name"}}
        sections = {key.rpartition(".")[0] for key in shown}
        for one in overrides:
            if one.of_hydra or one.key in self.groups or one.key in shown or one.key in sections:
                continue
            if one.key.startswith("access."):  # goes to the workload's own pattern, which knows its parameters
                continue
            if "/" in one.key or one.package is not None:
                raise ConfigError(f"{one.text}: there is no config group {one.key}; {near(one.key, self.groups)}")
            raise ConfigError(f"{one.text}: there is no key {one.key}; {near(one.key, shown | self.groups)}")

    def _known(self, overrides: Sequence[Override]) -> Mapping[str, Any]:
        """Every key that there is without those that overrides add."""
        if not any(one.prefix for one in overrides):
            with suppress(ConfigError):  # a key that there is not, most likely
                return self.compose(self.first(overrides)).values
        choices = (one for one in overrides if one.key in self.groups and not one.of_hydra)
        chosen = [one for one in choices if one.prefix == "" and one.package is None and one.values[0] is not None]
        return self.compose([f"{one.key}={one.values[0]}" for one in chosen]).values

    def first(self, overrides: Sequence[Override]) -> list[str]:
        """What the first point of a sweep is composed with: of each group that is an axis its first choice, and no other leaf.

        The first mechanism is not among it: every composition holds the options of all.
        """
        own = [one for one in overrides if not one.of_hydra and not one.is_option]
        choices = [one for one in own if one.axis and one.key in self.groups and one.key != "mechanism"]
        # In the order in which the plan composes them, which then finds it done.
        return [
            *(one.text for one in own if not one.axis),
            *(f"{one.key}={spelled(self.expand(one)[0])}" for one in choices),
        ]

    def _check_choice(self, override: Override) -> None:
        known = self.options(override.key)
        for value in self.expand(override):
            if value is not None and (not isinstance(value, str) or value not in known):
                raise ConfigError(f"{override.key}={value}: there is no such {override.key}; {near(str(value), known)}")

    def _compose(self, overrides: tuple[str, ...]) -> Composition:
        from hydra.errors import HydraException
        from hydra.types import RunMode
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        # The same whatever else is chosen: composed along once.
        names = [name for name in self.options("mechanism") if name != "all"] if self._mechanisms is None else []
        added = [f"+mechanism@{MECHANISM_OPTIONS}.{name}={name}" for name in names]
        try:
            config = self._loader.load_configuration(
                config_name=self._config_name,
                overrides=[*self._search_overrides, *added, *overrides],
                run_mode=RunMode.RUN,
                from_shell=False,
            )
            tree = OmegaConf.to_container(config, resolve=False)
        except (HydraException, OmegaConfBaseException, ValueError) as error:  # ValueError: a group that is set to null
            raise ConfigError(_one_line(error)) from error
        assert isinstance(tree, dict)
        multirun = str(tree.pop("hydra").get("mode")).endswith("MULTIRUN")
        if isinstance(tree.get("points"), list):  # they may name where-and-how keys, which are settled by now
            tree["points"] = OmegaConf.to_container(config.points, resolve=True)
        values = {**dict(flatten(tree)), **(self._mechanisms or {})}
        if self._mechanisms is None:
            self._mechanisms = {key: value for key, value in values.items() if key.startswith(f"{MECHANISM_OPTIONS}.")}
        interpolated = any(isinstance(value, str) and "${" in value for value in values.values())
        return Composition(values, interpolated, multirun)


def spelled(value: Any) -> str:
    """A choice as Hydra's grammar has it."""
    return "null" if value is None else str(value)


def flatten(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of nested mappings with its dotted key; an empty mapping and a list are leaves."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            yield from flatten(value, f"{name}.")
        else:
            yield name, value


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = error.__cause__
    if not lines and cause is not None:
        return _one_line(cause)
    if cause is not None and str(cause).strip():
        lines = [*lines[:1], str(cause).strip().splitlines()[0]]
    return ": ".join(lines[:2]) if lines else type(error).__name__
