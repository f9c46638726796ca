"""An audit kept as a run."""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mshare_bench.study.engines import where_here
from mshare_bench.study.result import Result
from mshare_bench.study.tracking import tracker_of, write_report

if TYPE_CHECKING:
    from mshare_bench.audit import Audit

__all__ = ["keep_audit"]


def keep_audit(audit: "Audit", out: str | Path, note: Callable[[str], None], *, track: bool = True) -> Result:
    """Keep an audit as a run: on disk first, then in MLflow.

    Parameters
    ----------
    audit
        As `mshare_bench.audit.audit_host` gives it.
    out
        Folder of the store; audits in one folder lie side by side.
    note
        Is told what stands in the way.
    track
        Whether MLflow hears of it.

    Raises
    ------
    StoreError
        When the folder can't be written.
    """
    from mshare_bench.audit.rows import audit_rows
    from mshare_bench.cluster.stamp import stamped
    from mshare_bench.config.settings import Settings
    from mshare_bench.real.environment import machine_digest
    from mshare_bench.results.store import Store

    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    with Store.create(out, "audit", config={"selection": audit.selection}) as store:
        store.append(stamped(audit_rows(audit, machine_digest(), at).tables(), where_here()))
        store.compact()
        write_report(store)
        link = tracker_of(Settings()).log(store, note) if track else None
        return Result(store.path, Store.open(store.path), link)
