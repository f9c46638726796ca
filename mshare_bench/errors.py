"""The errors that mshare-bench raises on purpose, each with the exit code the command line gives it."""

__all__ = [
    "CapabilityError",
    "CellFailed",
    "ConfigError",
    "GuardError",
    "MshareBenchError",
    "PlacementError",
    "StoreError",
]


class MshareBenchError(Exception):
    """Base of all errors raised on purpose: one clear line, no traceback."""

    exit_code = 2


class ConfigError(MshareBenchError):
    """A key or a value that the user gave is wrong; the message names both."""


class PlacementError(ConfigError):
    """A placement that the topology can't satisfy."""


class StoreError(MshareBenchError):
    """A results folder that can't be read or written."""


class CapabilityError(MshareBenchError):
    """This machine or kernel lacks what a cell needs; the message says what and how to get it. Such a cell is skipped."""


class GuardError(MshareBenchError):
    """The memory guard refused: the cell needs more memory than the machine can spare."""

    exit_code = 3

    def __init__(self, message: str, largest_processes: int | None = None) -> None:
        super().__init__(message)
        self.largest_processes = largest_processes


class CellFailed(MshareBenchError):
    """A cell started and did not finish: an agent died, a wait timed out, the OOM killer came."""

    exit_code = 1
