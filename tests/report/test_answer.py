from mshare_bench.report.answer import answer
from mshare_bench.results.savings import with_savings
from tests.results.sample import cell_of, headline, rows_of


def test_the_headline_is_answered_in_one_sentence() -> None:
    text = answer(with_savings(headline().tables()["cells"]))
    assert text == (
        "10,000 processes that share 1 GiB spend 19.61 GiB on page tables with shmem, 39.07 MiB with hugetlb and 2.01 MiB with "
        "mshare, 99.99 % less (predicted); measured at up to 1,000 processes: 1.000 of what was predicted."
    )


def test_without_shmem_nothing_is_said_of_savings() -> None:
    text = answer(with_savings(rows_of([cell_of("mshare", 1)]).tables()["cells"]))
    assert text == "1 process that shares 1 GiB spends 2.01 MiB on page tables with mshare (predicted)."


def test_what_was_measured_is_said_to_be() -> None:
    cells = [cell_of("shmem", engine="real"), cell_of("thp", engine="real")]
    text = answer(with_savings(rows_of(cells).tables()["cells"]))
    assert text.endswith("with shmem and 80 KiB with thp, 99.61 % less (measured).")


def test_no_result_no_answer() -> None:
    assert "no answer" in answer(rows_of([cell_of("shmem")], failing=("shmem",)).tables()["cells"])


def test_private_memory_is_not_said_to_be_shared() -> None:
    text = answer(with_savings(rows_of([cell_of("ksm", 4, engine="real")]).tables()["cells"]))
    assert text.startswith("4 processes that have 1 GiB of private memory spend")
