import pyarrow as pa

from mshare_bench.report.facts import break_even_table, command, environment_table, missing_table
from mshare_bench.report.pairs import Missing
from mshare_bench.report.selection import BreakEven
from mshare_bench.results.schema import schema


def test_break_even_says_always_never_and_from() -> None:
    found = [
        BreakEven("mshare", loser, "page tables", 1 << 30, processes, (1, 1_000))
        for loser, processes in (("shmem", 1), ("hugetlb", 514), ("thp", None))
    ]
    text = break_even_table(found)
    assert ">always<" in text
    assert ">from 514<" in text
    assert ">never<" in text
    assert break_even_table([]) == ""


def test_reasons_are_escaped() -> None:
    text = missing_table([Missing("thp", "real", "failed", "<agent> died", 1_234)])
    assert "&lt;agent&gt; died" in text
    assert "1,234" in text
    assert missing_table([]) == ""


def test_environments_stand_side_by_side_and_unknown_is_a_dash() -> None:
    rows = [
        {"env": env, "machine": "m", "key": key, "value": value}
        for env, kernel in (("a", "6.17"), ("b", "6.18"))
        for key, value in (("kernel", kernel), ("thp", None))
    ]
    text = environment_table(pa.Table.from_pylist(rows, schema("environments")), {})
    assert "<td>6.17</td><td>6.18</td>" in text
    assert "<td>–</td><td>–</td>" in text
    assert environment_table(schema("environments").empty_table(), {}) == ""


def test_the_command_can_be_pasted() -> None:
    assert command({"overrides": ["a=1", "b=x y"]}) == "mshare-bench run a=1 'b=x y'"
    assert command({}) == ""
