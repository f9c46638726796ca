"""Stateful tests of the whole machine: 5,000 steps and more per run, beside an oracle."""

from dataclasses import replace

import pytest
from hypothesis.stateful import run_state_machine_as_test

from mshare_bench.sim.semantics import Flush, Interface
from tests.sim.semantics.domain_machine import DomainMachine
from tests.sim.semantics.stateful import CI
from tests.sim.semantics.stock_machine import StockMachine


@pytest.mark.parametrize(
    ("interface", "flush", "strict"),
    [
        (Interface.MSHAREFS, Flush.ALL, True),
        (Interface.MSHAREFS, Flush.LIST, False),
        (Interface.IDEAL, Flush.CPUMASK, True),
        (Interface.IDEAL, Flush.LIST, False),
    ],
)
def test_domains_keep_their_promises(interface: Interface, flush: Flush, strict: bool) -> None:
    class Configured(DomainMachine):
        config = replace(DomainMachine.config, interface=interface, flush=flush, strict_permissions=strict)

    run_state_machine_as_test(Configured, settings=CI)


@pytest.mark.parametrize("fork_tables", ["copied", "shared"])
def test_stock_memory_reads_what_was_written(fork_tables: str) -> None:
    class Configured(StockMachine):
        config = replace(StockMachine.config, fork_tables=fork_tables)

    run_state_machine_as_test(Configured, settings=CI)
