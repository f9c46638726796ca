"""A validation as a run: cells beside the models, and everything else that can be held against them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mshare_bench.study.engines import model_of
from mshare_bench.study.line import out_folder, record_of, run_missing
from mshare_bench.study.observer import Observer, Silent
from mshare_bench.study.tracking import check_tracking, tracker_of
from mshare_bench.sweep.plan import make_plan

if TYPE_CHECKING:
    import pyarrow as pa


__all__ = ["Validation", "validate"]


@dataclass(frozen=True, slots=True)
class Validation:
    """What a validation found.

    Attributes
    ----------
    path
        Folder of the store that holds the cells, `validation.arrow` and the figure.
    table
        Rows of `validation.arrow` (docs/validation.md).
    link
        Where to look at it in MLflow, if it was logged.
    exit_code
        4 when a prediction is out of its tolerance, 1 when a cell failed, else 0.
    """

    path: Path
    table: "pa.Table"
    link: str | None
    exit_code: int


def validate(*overrides: str, targets: str | Path | None = None, observer: Observer | None = None) -> Validation:
    """Hold the models against this machine's kernel, against published results, and against what they were not fitted on.

    Parameters
    ----------
    overrides
        Where and how (`real.scale=small`, `out=`, `tracking=`) and `cost=`.
    targets
        A file with further published results.
    observer
        Hears how it goes on.

    Raises
    ------
    ConfigError
        For a coordinate among the overrides, or a wrong file of targets.
    """
    from mshare_bench.config.costs import profile_of
    from mshare_bench.config.request import read_where
    from mshare_bench.real.environment import machine_digest
    from mshare_bench.report.validation import figure
    from mshare_bench.results.files import write_arrow
    from mshare_bench.results.store import Store
    from mshare_bench.validation.comparison import failed, table
    from mshare_bench.validation.kernel import REPEATS, compare_cells, kernel_cells
    from mshare_bench.validation.models import Context, packaged_mmus, predict
    from mshare_bench.validation.out_of_sample import out_of_sample
    from mshare_bench.validation.targets import all_targets

    observer = observer or Silent()
    request = read_where(overrides, "validate")
    settings, cost = request.settings, profile_of(request.values)
    check_tracking(settings)
    published = all_targets(targets)
    # A wrong file of targets is told before anything runs.
    context = Context(packaged_mmus())
    rows = [one for target in published for one in predict(target, context)]
    rows += out_of_sample(published)
    small = settings.real.scale == "small"
    cells = kernel_cells(small, cost.name if cost else "", machine_digest(), model_of)
    plan = make_plan(cells, REPEATS)
    with Store.create(
        out_folder(settings, "validate"), "validate", sweep=plan.digest, config=record_of(request)
    ) as store:
        try:
            run_missing(plan, store, request, observer, {cost.name: cost} if cost else {})
        finally:
            store.compact()
        ran = store.table("cells")
        rows = [*compare_cells(ran.to_pylist()), *rows]
        found = table(rows)
        write_arrow(store.path / "validation.arrow", found)
        figure(found, store.path / "figures" / "validation.png")
        link = None if settings.tracking == "none" else tracker_of(settings).log(store, observer.note)
        broken = any(status not in ("ok", "skipped") for status in ran["status"].to_pylist())
        return Validation(store.path, found, link, 4 if failed(rows) else int(broken))
