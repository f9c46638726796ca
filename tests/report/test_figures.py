import re
from pathlib import Path
from xml.etree import ElementTree

from mshare_bench.report.figures import figures, svg, write_figures
from mshare_bench.report.palette import palette
from mshare_bench.results.savings import with_savings
from tests.results.sample import COLORS, cell_of, headline, rows_of, sweep


def test_what_the_cells_allow_is_drawn() -> None:
    assert list(figures(with_savings(headline().tables()["cells"]), COLORS)) == ["page_tables", "time"]
    full = with_savings(rows_of(list(sweep(engines=("sim", "real")))).tables()["cells"])
    assert list(figures(full, COLORS)) == ["page_tables", "time", "savings", "break_even"]
    assert figures(rows_of([cell_of("shmem")], failing=("shmem",)).tables()["cells"]) == {}


def test_measured_points_lie_over_predicted_lines() -> None:
    figure = figures(with_savings(headline().tables()["cells"]), COLORS)["page_tables"]
    (axis,) = figure.axes
    assert axis.get_xscale() == axis.get_yscale() == "log"
    lines = axis.get_lines()
    predicted = [line for line in lines if line.get_linestyle() != "None"]
    measured = [line for line in lines if line.get_linestyle() == "None"]
    assert (len(predicted), len(measured)) == (5, 4)
    assert min(line.get_zorder() for line in measured) > min(line.get_zorder() for line in predicted)
    assert len({str(line.get_linestyle()) + str(line.get_color()) for line in predicted}) == 5
    assert {text.get_text() for text in axis.texts} == set(COLORS)


def test_a_single_place_is_drawn_as_dots_with_their_values() -> None:
    cells = [cell_of(name, engine=engine) for name in ("shmem", "thp", "hugetlb") for engine in ("sim", "real")]
    figure = figures(with_savings(rows_of(cells).tables()["cells"]), COLORS)["page_tables"]
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["hugetlb", "thp", "shmem"]
    assert len(axis.get_lines()) == 6
    assert {text.get_text() for text in axis.texts} == {"20.08 MiB", "80 KiB", "44 KiB"}
    assert axis.get_title(loc="left") == "10 processes · 1 GiB"


def test_a_mechanism_without_a_place_in_the_last_panel_is_named_in_its_own() -> None:
    cells = [*sweep(("shmem", "mshare"), sizes=(64 << 20, 1 << 30)), *sweep(("thp",), sizes=(64 << 20,))]
    figure = figures(with_savings(rows_of(cells).tables()["cells"]), COLORS)["page_tables"]
    assert [{text.get_text() for text in axis.texts} for axis in figure.axes] == [{"thp"}, {"shmem", "mshare"}]


def test_pictures_are_whole_and_their_ids_are_their_own() -> None:
    cells = with_savings(rows_of(list(sweep(engines=("sim", "real")))).tables()["cells"])
    chosen = palette(sorted(COLORS), COLORS)
    made = {name: svg(figure, name, chosen) for name, figure in figures(cells, chosen).items()}
    ids: list[str] = []
    for text in made.values():
        ElementTree.fromstring(text)
        assert not re.findall(r"#0102\d\d|#0a0a0a", text)
        assert "var(--m-mshare)" in text or "var(--ink)" in text
        own = re.findall(r'\bid="([^"]*)"', text)
        assert set(re.findall(r'url\(#([^)]*)\)|xlink:href="#([^"]*)"', text)) <= {
            pair for one in own for pair in ((one, ""), ("", one))
        }
        ids += own
    assert len(ids) == len(set(ids))


def test_pictures_are_the_same_each_time() -> None:
    cells = with_savings(headline().tables()["cells"])
    chosen = palette(sorted(COLORS), COLORS)
    first, again = (svg(figures(cells, chosen)["page_tables"], "page_tables", chosen) for _ in range(2))
    assert first == again


def test_files_are_written(tmp_path: Path) -> None:
    paths = write_figures(figures(with_savings(headline().tables()["cells"]), COLORS), tmp_path / "figures")
    assert [path.name for path in paths] == ["page_tables.png", "time.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
