"""Compiles the C agent while the package is built; everything else stands in pyproject.toml.

Where no compiler is found, or none can compile it, the package is built without: the agent is then compiled on first
use, or only simulation is available. A package that holds the binary is tagged for this platform.
"""

import functools
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

AGENT = Path(__file__).resolve().parent / "mshare_bench" / "real" / "agent"


def agent_build() -> ModuleType:
    """The module that compiles the agent, by its path: the package itself needs what is not installed yet."""
    spec = importlib.util.spec_from_file_location("_agent_build", AGENT / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def compile_agent() -> Path | None:
    """Compile the agent beside its sources; None, with the reason on stderr, where that can't be done."""
    if sys.platform != "linux":
        return None
    build = agent_build()
    target: Path = build.prebuilt_path()
    if target.exists():
        return target
    try:
        target.parent.mkdir(exist_ok=True)  # for all to read, unlike a cache
        built, failures = build.build_agent(target.parent)
    except OSError as error:
        built, failures = None, [str(error)]
    if built is None:
        print(f"the agent is not compiled: {'; '.join(failures) or 'no C compiler was found'}", file=sys.stderr)
        return None
    for stale in target.parent.glob("mshare-agent-*"):
        if stale != built:
            stale.unlink()
    return target


class BuildWithAgent(build_py):
    """``build_py`` that first compiles the agent, so that it is there when the package's data files are looked up."""

    def run(self) -> None:
        """Compile, then build."""
        compile_agent()
        super().run()


class DistributionWithAgent(Distribution):
    """A distribution that belongs to a platform where it holds a binary."""

    def has_ext_modules(self) -> bool:
        """Whether it is not for any platform alike."""
        return compile_agent() is not None


class WheelWithAgent(bdist_wheel):
    """``bdist_wheel`` whose tag names the platform where the wheel holds a binary, and no version of Python."""

    def get_tag(self) -> tuple[str, str, str]:
        """Any Python 3 will do, since the binary is no extension module."""
        return ("py3", "none", super().get_tag()[2])


setup(distclass=DistributionWithAgent, cmdclass={"build_py": BuildWithAgent, "bdist_wheel": WheelWithAgent})
