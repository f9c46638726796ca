"""What duplicated page tables cost, and what sharing them would save: predicted beside measured.

The public API is `run` and `load`; both give a `Result` with Arrow tables. Everything heavy is imported when it is used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mshare_bench.study import Result, load, run

__all__ = ["Result", "load", "run"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from mshare_bench import study

        return getattr(study, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
