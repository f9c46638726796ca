from mshare_bench.report.advice import advice_section, recommendations
from mshare_bench.report.html import write_report
from mshare_bench.report.pairs import costliest
from mshare_bench.results.store import Store
from tests.results.sample import headline


def test_a_report_ends_with_what_to_do_and_its_price(tmp_path):
    with Store.create(tmp_path / "o", "headline") as store:
        store.append(headline().tables())
        scene = costliest(store.table("cells"))
        report = write_report(store).read_text()
    ways = recommendations(scene)
    assert report.index("<h2>Recommendation</h2>") > report.index("<h2>Results</h2>")
    section = advice_section(scene)
    assert "<h2>Recommendation</h2>" in section
    assert section.count("Price:") == sum(way.price != "none" for way in ways)
    saved = {pair.mechanism: pair.best["page_table_saved_bytes"] for pair in scene.pairs}
    assert next(way for way in ways if way.action == "mshare").saves_bytes == saved["mshare"]


def test_without_a_scene_there_is_none():
    assert advice_section(None) == ""
