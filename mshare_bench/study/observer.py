"""Who hears how a run goes on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from mshare_bench.domain.cell import Cell
from mshare_bench.domain.ports import Tables
from mshare_bench.sweep.plan import Plan

__all__ = ["Observer", "Silent"]


class Observer(Protocol):
    """Hears how a run goes on."""

    def planned(self, plan: Plan, todo: Sequence[Cell], path: Path) -> None:
        """So many cells will run, and the store is there."""

    def finished(self, tables: Tables) -> None:
        """These rows are on disk."""

    def note(self, message: str) -> None:
        """Something worth a line."""


class Silent:
    """An observer that says nothing."""

    def planned(self, plan: Plan, todo: Sequence[Cell], path: Path) -> None:
        """Nothing."""

    def finished(self, tables: Tables) -> None:
        """Nothing."""

    def note(self, message: str) -> None:
        """Nothing."""
