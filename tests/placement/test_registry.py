import pytest

from mshare_bench.errors import ConfigError
from mshare_bench.placement import registry
from mshare_bench.placement.registry import (
    TableLayout,
    Walkers,
    placement_policy,
    policies,
    table_policies,
    table_policy,
)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registries of this test's own, so that what it registers is gone afterwards."""
    policies(), table_policies()
    monkeypatch.setattr(registry, "_policies", dict(registry._policies))
    monkeypatch.setattr(registry, "_tables", dict(registry._tables))
    policies.cache_clear()
    table_policies.cache_clear()


@pytest.fixture(autouse=True)
def clean() -> object:
    yield
    policies.cache_clear()
    table_policies.cache_clear()


def test_a_new_policy_is_one_decorated_function(fresh: None) -> None:
    @table_policy("always_first")
    def always_first(walkers: Walkers) -> TableLayout:
        return TableLayout(prefer=0)

    @placement_policy("nowhere")
    def nowhere(problem: object, tables: object, options: object) -> None:
        return None

    assert table_policies()["always_first"] is always_first
    assert policies()["nowhere"] is nowhere


def test_a_name_that_is_taken_is_refused(fresh: None) -> None:
    with pytest.raises(ConfigError, match="tables=interleave: .*both register it"):
        table_policy("interleave")(lambda walkers: TableLayout(prefer=0))


def test_a_broken_plug_in_is_a_warning_with_its_reason(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        name, value = "broken", "nowhere:policy"

        def load(self) -> None:
            raise RuntimeError("no such module")

    def entry_points(group: str) -> list[Broken]:
        return [Broken()] if group == "mshare_bench.placement_policies" else []

    monkeypatch.setattr(registry.importlib.metadata, "entry_points", entry_points)
    with pytest.warns(UserWarning, match=r"plug-in broken \(nowhere:policy\) is left out: no such module"):
        assert "pack" in policies()


def test_all_policies_are_there() -> None:
    assert list(policies()) == [
        "bind",
        "first_touch",
        "interleave",
        "local",
        "optimal",
        "pack",
        "round_robin",
        "spread",
    ]
    assert list(table_policies()) == ["first_touch", "follow_majority", "interleave", "replicate"]
