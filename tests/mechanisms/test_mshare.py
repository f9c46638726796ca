"""Options of shared page tables that go together, and what the module for guests costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.domain.units import GIB, KIB, MIB
from mshare_bench.errors import CapabilityError, ConfigError
from mshare_bench.mechanisms.mshare import Mshare
from mshare_bench.sim.accounting import account
from mshare_bench.sim.points import make_point


@pytest.mark.parametrize("interface", ["msharefs", "module"])
def test_a_private_mapping_is_refused(interface):
    with pytest.raises(ConfigError, match=f"mapping=private: {interface} refuses"):
        Mshare(interface=interface, mapping="private")


@pytest.mark.parametrize("interface", ["msharefs", "flag", "ideal"])
@pytest.mark.parametrize(("key", "value"), [("sharing", "off"), ("start", "fork")])
def test_only_the_module_has_these(interface, key, value):
    with pytest.raises(ConfigError, match=f"{key}={value}: only interface=module has it, not {interface}"):
        Mshare(interface=interface, **{key: value})


@pytest.mark.parametrize("key", ["region", "offset"])
def test_the_module_shares_whole_units(key):
    size, offset = (3 * MIB, 0) if key == "region" else (4 * MIB, 4 * KIB)
    with pytest.raises(ConfigError, match=f"{key}=.*interface=module shares whole, aligned 2 MiB units"):
        account(make_point("mshare", 2, size, offset=offset, options={"interface": "module"}))


def test_the_ideal_exists_nowhere():
    with pytest.raises(CapabilityError, match="simulated only"):
        Mshare(interface="ideal").recipe(None, 4 * KIB)


@given(processes=st.integers(1, 300), units=st.integers(1, 2048), access=st.sampled_from(["dense", "sparse"]))
def test_leaf_tables_of_the_module_exist_once(processes, units, access):
    options = {"interface": "module"}
    on = account(make_point("mshare", processes, units * 2 * MIB, access=access, options=options))
    off = account(
        make_point("mshare", processes, units * 2 * MIB, access=access, options={**options, "sharing": "off"})
    )
    upper = -(-units // 512) + 1  # PMD pages, and a PUD page
    assert on.page_table_bytes == (units + processes * upper) * 4 * KIB
    assert off.page_table_bytes == processes * (units + upper) * 4 * KIB
    assert on.total("minor_faults") == off.total("minor_faults") == processes * units


def test_a_touch_fills_its_whole_unit():
    options = {"interface": "module"}
    found = account(make_point("mshare", 3, GIB, access="sparse", populate="first_touch", options=options))
    assert found.total("data_bytes") == GIB


def test_a_childs_first_fault_is_no_minor_one():
    options = {"interface": "module", "start": "fork"}
    found = account(make_point("mshare", 10, 64 * MIB, options=options))
    control = account(make_point("mshare", 10, 64 * MIB, options={**options, "sharing": "off"}))
    assert found.total("minor_faults") == 10 * 32 - 9
    assert control.total("minor_faults") == 10 * 32
