"""The bundled geometries, by name."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mshare_bench.sim.mmu import Mmu, geometry_from_mapping

__all__ = ["FOLDER", "NAMES", "named_geometry", "named_mapping"]

FOLDER = Path(__file__).parents[3] / "conf" / "mmu"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def named_mapping(name: str) -> dict[str, Any]:
    mapping: Any = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{name}.yaml"))
    return dict(mapping)


def named_geometry(name: str) -> Mmu:
    return geometry_from_mapping(named_mapping(name))
