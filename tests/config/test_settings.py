"""Where and how."""

import pytest

from mshare_bench.config.composer import Composer
from mshare_bench.config.settings import Settings, settings_of
from mshare_bench.errors import ConfigError


def test_the_bundled_configuration_has_the_defaults() -> None:
    assert settings_of(Composer().compose([]).values) == Settings(name="region")


def test_units_are_parsed() -> None:
    found = settings_of(Composer().compose(["guard.reserve=1GiB", "real.timeout=5s", "cluster.silence=250ms"]).values)
    assert (found.real.reserve_bytes, found.real.timeout_ns, found.cluster.silence_ns) == (
        1 << 30,
        5 * 10**9,
        250 * 10**6,
    )


@pytest.mark.parametrize(
    "override",
    [
        "guard.reserve=lots",
        "real.timeout=soon",
        "repeats=0",
        "seed=-1",
        "samples=some",
        "real.scale=tiny",
        "name=.x",
        "warmups=a",
        "cluster.silence=0s",
    ],
)
def test_wrong_values_are_named(override: str) -> None:
    key, _, value = override.partition("=")
    with pytest.raises(ConfigError) as caught:
        settings_of(Composer().compose([override]).values)
    assert str(caught.value).startswith(f"{key}={value}")


def test_labels_choose_machines_of_a_cluster() -> None:
    given = ["cluster.address=a:1", "cluster.labels={zone:a,ray.io/kind:'in(b,c)'}"]
    assert settings_of(Composer().compose(given).values).cluster.labels == {"zone": "a", "ray.io/kind": "in(b,c)"}
    with pytest.raises(ConfigError, match="cluster.address as well"):
        settings_of(Composer().compose(given[1:]).values)
    with pytest.raises(ConfigError, match="cluster.labels=zone: must be a mapping"):
        settings_of(Composer().compose([given[0], "cluster.labels=zone"]).values)
