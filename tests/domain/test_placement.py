"""A placement's text says everything, and what can't be is refused by its key."""

import pytest

from mshare_bench.domain.placement import EpochChoice, PlacementChoice
from mshare_bench.errors import ConfigError

SEVERAL = [
    (PlacementChoice(), "first_touch"),
    (PlacementChoice("local", "replicate"), "local;tables=replicate"),
    (PlacementChoice("bind", nodes=((0, 1), (3, 0))), "bind;nodes=0:1+3:0"),
    (PlacementChoice("pack", exclusive=True, overcommit=2.5), "pack;exclusive=true;overcommit=2.5"),
    (PlacementChoice("optimal", reads_per_s=5e7, walk_share=0.25, time_limit=0.5, horizon=2e6),
     "optimal;reads_per_s=50000000;walk_share=0.25;time_limit=0.5;horizon=2000000"),
    (PlacementChoice("epochs", epochs=("60s", "1s drain 0:1"), strategy="never", budget=4096),
     "epochs;epochs=60s|1s drain 0:1;strategy=never;budget=4096"),
]  # fmt: skip


@pytest.mark.parametrize(("choice", "text"), SEVERAL)
def test_the_text_is_read_back(choice: PlacementChoice, text: str) -> None:
    assert choice.text == text
    assert PlacementChoice.parse(text) == choice


def test_configuration_values_come_as_they_are_written() -> None:
    values = {"name": "bind", "nodes": [0, "2:1"], "horizon": "1500ms", "exclusive": False, "overcommit": None}
    assert PlacementChoice.of(values) == PlacementChoice("bind", nodes=((0, 0), (2, 1)), horizon=1.5)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"nodes": [-1]}, r"placement.nodes=-1: must be at least 0"),
        ({"nodes": [0, 0]}, r"placement.nodes=\[0, 0\]: a node occurs twice"),
        ({"nodes": ["a:b"]}, "placement.nodes=a: not a whole number"),
        ({"exclusive": "perhaps"}, "placement.exclusive=perhaps: must be true or false"),
        ({"overcommit": 0}, "placement.overcommit=0: must be positive"),
        ({"walk_share": 1.5}, "placement.walk_share=1.5: must be between 0 and 1"),
        ({"horizon": "soon"}, "placement.horizon=soon: not a duration"),
        ({"tables": "a;b"}, "placement.tables=a;b: must be a name"),
        ({"epochs": ["60s drain"]}, "placement.epochs=60s drain: say a time, then drain M:N, dead M or share X"),
        ({"epochs": ["60s burn 0"]}, "placement.epochs=60s burn 0: burn is none of drain, dead and share"),
        ({"epochs": ["soon"]}, "placement.epochs=soon: not a duration"),
        ({"node": 1}, "placement.node=1: there is no such option; there are tables, exclusive"),
    ],
)
def test_what_can_not_be_is_named(values: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        PlacementChoice.of({"name": "bind", **values})


def test_an_epoch_is_a_time_and_what_differs_in_it() -> None:
    assert EpochChoice.parse("1500ms") == EpochChoice(1.5)
    text = "60s drain 0:1 dead 2 share 0.25 drain 3:0"
    assert EpochChoice.parse(text) == EpochChoice(60.0, 0.25, ((0, 1), (3, 0)), (2,))
