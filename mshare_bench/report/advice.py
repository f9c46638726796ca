"""The recommendation at the end of a report: what to do about the scene that costs most, with numbers and prices."""

from html import escape

from mshare_bench.advice.recommendation import Recommendation
from mshare_bench.advice.scene import Option, advise
from mshare_bench.report.pairs import Scene

__all__ = ["advice_section", "recommendations"]


def recommendations(scene: Scene) -> tuple[Recommendation, ...]:
    """What to do about a scene, the best first; nothing where it has no `shmem` to compare with."""
    options = []
    for pair in scene.pairs:
        left, saved = pair.best["page_table_bytes"], pair.best["page_table_saved_bytes"]
        if left is None or saved is None:  # a measured row without a measured baseline has a predicted one
            names = ("page_table_bytes", "page_table_saved_bytes")
            left, saved = (pair.predicted[name] if pair.predicted else None for name in names)
        if left is not None and saved is not None:
            measured = pair.measured is not None and pair.measured["page_table_saved_bytes"] == saved
            options.append(Option(pair.mechanism, pair.variant, round(left), round(saved), measured))
    return advise(options, scene.region_bytes)


def advice_section(scene: Scene | None) -> str:
    """Make the section of the report; empty where there is nothing to say."""
    ways = recommendations(scene) if scene is not None else ()
    if not ways:
        return ""
    first, *others = ways
    items = "".join(f"<li>{escape(way.text)} Price: {escape(way.price)}.</li>" for way in others)
    more = f"<p>What else there is:</p>\n<ul>{items}</ul>" if items else ""
    price = f" Price: {escape(first.price)}." if first.price != "none" else ""
    return (
        f"<section>\n<h2>Recommendation</h2>\n<p><strong>{escape(first.text)}</strong>{price}</p>\n{more}\n</section>"
    )
