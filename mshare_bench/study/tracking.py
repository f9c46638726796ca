"""What happens to rows after they are on disk: MLflow, now or later, and the report."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mshare_bench.uncollected import uncollected

if TYPE_CHECKING:
    from mshare_bench.config.settings import Settings
    from mshare_bench.results.store import Store
    from mshare_bench.tracking.mlflow import MlflowTracker

__all__ = ["check_tracking", "sync", "tracker_of", "write_report"]


def sync(path: str | Path, note: Callable[[str], None], uri: str | None = None) -> str | None:
    """Send to MLflow what is on disk only, exactly once.

    Parameters
    ----------
    path
        Of the store.
    note
        Is told what stands in the way.
    uri
        Of the tracking server; None for the one that the run named.

    Returns
    -------
    str or None
        Where to look at it; None where the server is away.
    """
    from mshare_bench.config.settings import Settings
    from mshare_bench.results.store import Store

    with Store.open(path, write=True) as store:
        values = store.info.config.get("values", {})
        settings = Settings(
            tracking_uri=values.get("tracking.uri"),
            tracking_experiment=values.get("tracking.experiment") or Settings().tracking_experiment,
        )
        return tracker_of(settings, uri).log(store, note)


def write_report(store: "Store") -> Path:
    """Write `report.html` into the folder of a store, and say where it is."""
    from mshare_bench.report.html import write_report

    with uncollected():
        return write_report(store, colors=_colors())


def tracker_of(settings: "Settings", uri: str | None = None) -> "MlflowTracker":
    """The tracker that the settings name."""
    from mshare_bench.tracking.mlflow import MlflowTracker

    return MlflowTracker(settings.tracking_experiment, uri or settings.tracking_uri, _colors())


def _colors() -> dict[str, str]:
    from mshare_bench.mechanisms.registry import mechanisms

    return {name: cls.color for name, cls in mechanisms().items()}


def check_tracking(settings: "Settings") -> None:
    """Say no to an address that is none before anything runs; a server that is away is not an error."""
    if settings.tracking != "none" and settings.tracking_uri is not None:
        from mshare_bench.tracking.place import place_of

        place_of(settings.tracking_uri)
