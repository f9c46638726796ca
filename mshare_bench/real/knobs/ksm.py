"""Kernel samepage merging: whether its thread runs, and how fast.

``run``: 0 stops the thread and leaves merged pages merged, 1 runs it, 2 stops it and unmerges everything. Put back to 0
while processes with merged pages are alive, those pages stay merged until they are written or the processes end.

``pages_to_scan`` pages are looked at per round, with ``sleep_millisecs`` in between. Where ``advisor_mode`` is
``scan-time``, the kernel chooses ``pages_to_scan`` itself and takes no value. The thread takes CPU time from everybody:
times that are measured while it runs say so.
"""

from pathlib import Path

from mshare_bench.real.knobs.knob import Knob, register

__all__ = ["KSM_PAGES_TO_SCAN", "KSM_RUN", "KSM_SLEEP_MILLISECS"]

_FOLDER = Path("/sys/kernel/mm/ksm")

KSM_RUN = Knob("ksm_run", _FOLDER / "run")
KSM_PAGES_TO_SCAN = Knob("ksm_pages_to_scan", _FOLDER / "pages_to_scan")
KSM_SLEEP_MILLISECS = Knob("ksm_sleep_millisecs", _FOLDER / "sleep_millisecs")

for _knob in (KSM_RUN, KSM_PAGES_TO_SCAN, KSM_SLEEP_MILLISECS):
    register(_knob.name, _knob)
