"""The one place where the line is put together: plan, run, store, track, report; and the public API."""

from mshare_bench.study.audit import keep_audit
from mshare_bench.study.line import run, run_request
from mshare_bench.study.observer import Observer, Silent
from mshare_bench.study.plan import outlook, plan_of
from mshare_bench.study.result import Result, load
from mshare_bench.study.tracking import sync, write_report
from mshare_bench.study.validation import Validation, validate

__all__ = [
    "Observer", "Result", "Silent", "Validation", "keep_audit", "load", "outlook", "plan_of", "run", "run_request", "sync",
    "validate", "write_report",
]  # fmt: skip
