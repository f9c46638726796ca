import pytest

from mshare_bench.results.environments import kind_of_fact


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("machine", "hardware"),
        ("microcode", "hardware"),
        ("kernel_version", "kernel"),
        ("thp", "kernel"),
        ("nr_hugepages_2048kB", "kernel"),
        ("a_switch_of_tomorrow", "kernel"),
        ("package_numpy", "software"),
        ("git_commit", "software"),
    ],
)
def test_every_fact_has_a_kind(key: str, kind: str) -> None:
    assert kind_of_fact(key) == kind
