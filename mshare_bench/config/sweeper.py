"""Our sweeper for Hydra: `-m` hands the whole list of overrides on, and one plan is made of it, instead of a job per value."""

import importlib
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, ClassVar

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

__all__ = ["PlanSweeper", "UserSearchPath", "register_plugins"]

# Hydra instantiates only plug-ins that can be imported from below this package, also those that are registered in code.
_PLUGIN_PACKAGE = "hydra_plugins"
_PLUGIN_MODULE = f"{_PLUGIN_PACKAGE}.mshare_bench"


class PlanSweeper(Sweeper):  # type: ignore[misc]
    """Gives the overrides of a multirun to `receive`, once."""

    receive: ClassVar[Callable[[list[str]], None] | None] = None

    def __init__(self) -> None:
        self.config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra composed."""
        self.config = config

    def sweep(self, arguments: list[str]) -> Any:
        """Hand the overrides on."""
        if PlanSweeper.receive is not None:
            PlanSweeper.receive(list(arguments))


class UserSearchPath(SearchPathPlugin):  # type: ignore[misc]
    """Adds the user's own configurations, such as calibrated cost profiles."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folder where there is one."""
        from mshare_bench.config.composer import user_config_folder

        folder = user_config_folder()
        if folder.is_dir():
            search_path.append(provider="mshare-bench user", path=f"file://{folder}")


def register_plugins() -> None:
    """Register with Hydra; again is harmless."""
    module = _plugin_module()
    plugins: Sequence[type] = (PlanSweeper, UserSearchPath)
    for plugin in plugins:
        plugin.__module__ = _PLUGIN_MODULE
        setattr(module, plugin.__name__, plugin)
        Plugins.instance().register(plugin)
    target = f"{_PLUGIN_MODULE}.{PlanSweeper.__name__}"
    ConfigStore.instance().store(group="hydra/sweeper", name="plan", node={"_target_": target}, provider="mshare-bench")


def _plugin_module() -> ModuleType:
    """Make the module under Hydra's plug-in package in memory, beside other plug-ins where there are some."""
    if _PLUGIN_MODULE in sys.modules:
        return sys.modules[_PLUGIN_MODULE]
    try:
        package = importlib.import_module(_PLUGIN_PACKAGE)
    except ModuleNotFoundError:
        package = ModuleType(_PLUGIN_PACKAGE)
        package.__path__ = []
        sys.modules[_PLUGIN_PACKAGE] = package
    module = ModuleType(_PLUGIN_MODULE)
    sys.modules[_PLUGIN_MODULE] = module
    package.mshare_bench = module  # type: ignore[attr-defined]
    return module
