"""The site about features: what it tells, that it hangs together, and how it looks in a browser."""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from fs_spark.docs import distribution, pictures, write_docs
from fs_spark.docs.distribution import distributions
from fs_spark.errors import RequestError
from fs_spark.lifecycle.lineage import Lineage, Node
from tests.stores import new_folder, open_store, write_lot

HARMFUL = '<script>alert(1)</script> & "quoted"'
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def site(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a store with a view of each kind of rows, one without rows, and two versions of one."""
    folder = new_folder(
        tmp_path_factory.mktemp("docs") / "whole",
        views=("die_neighborhood", "die_geometry", "basic_params", "power_metrics", "lot_so_far"),
    )
    views = folder / "conf" / "views"
    power = views / "power_metrics.yaml"
    power.write_text(
        power.read_text("utf-8").replace("power drawn from the supply", HARMFUL.replace('"', "'")), "utf-8"
    )
    (folder / "conf" / "services.yaml").write_text(
        "services: {one: {features: ['die_neighborhood:fail__neighbor_frac', 'power_metrics:power_w']}}\n", "utf-8"
    )
    store = open_store(folder, spark)
    store.ingest(write_lot(folder / "in", 1))
    store.apply(reason="the first ones")
    store.materialize(["die_neighborhood", "die_geometry", "basic_params", "power_metrics"])
    geometry = views / "die_geometry.yaml"
    text = geometry.read_text("utf-8")
    changed = text.replace('version: "1.0"', 'version: "1.1"\nowner: the probe team\nsla: 2 d')
    changed = re.sub(r"features: \[[^\]]*\]", "features: [radius_mm, radius_norm]", changed)
    geometry.write_text(changed, "utf-8")
    store = open_store(folder, spark)
    store.apply(reason="two are enough")
    store.materialize(["die_geometry"])
    report = write_docs(store, folder / "site")
    assert (report.views, report.features) == (
        5,
        sum(len(store._state().view(v).columns) for v in store._state().promoted),
    )
    return folder / "site"


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.headings: list[int] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.tags.append((tag, told))
        if tag in ("a", "link") and told.get("href"):
            self.links.append(str(told["href"]))
        if told.get("id"):
            self.ids.add(str(told["id"]))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))


def pages(site: Path) -> Iterator[tuple[Path, _Page]]:
    for file in sorted(site.rglob("*.html")):
        yield file, _Page(file.read_text("utf-8"))


def test_every_link_leads_somewhere_and_nothing_is_fetched(site: Path) -> None:
    count = 0
    for file, page in pages(site):
        for link in page.links:
            assert not urlsplit(link).scheme, (file, link)
            target = urlsplit(urljoin(file.as_uri(), link))
            assert Path(target.path).is_file(), (file, link)
            if target.fragment and Path(target.path) == file:
                assert target.fragment in page.ids
            count += 1
        assert not [tag for tag, told in page.tags if tag in ("img", "script", "iframe") and told.get("src")]
    assert count > 100


def test_every_page_can_be_read_aloud(site: Path) -> None:
    """A language, one first heading and no level left out, landmarks, names of pictures and of the search."""
    for file, page in pages(site):
        tags = [tag for tag, _ in page.tags]
        assert dict(page.tags)["html"] == {"lang": "en"}
        assert page.headings[0] == 1, file
        assert page.headings.count(1) == 1, file
        assert all(b - a <= 1 for a, b in zip(page.headings, page.headings[1:], strict=False)), (file, page.headings)
        assert {"header", "nav", "main", "footer", "title"} <= set(tags)
        for tag, told in page.tags:
            if tag == "svg":
                assert told.get("role") == "img", file
                assert told.get("aria-label"), file
            if tag == "input":
                assert ("label", {"for": told["id"]}) in page.tags


def test_colors_can_be_told_from_the_page(site: Path) -> None:
    """Text against the page in both schemes: at least 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    style = (site / "style.css").read_text("utf-8")
    for block in re.findall(r":root \{([^}]*)\}", style):
        colors = dict(re.findall(r"--(\w+): (#\w{6})", block))
        for text in ("ink", "quiet", "link"):
            for ground in ("page", "box"):
                assert _contrast(colors[text], colors[ground]) >= 4.5, (text, ground, block)


def _contrast(one: str, other: str) -> float:
    def light(color: str) -> float:
        parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_what_a_page_tells(site: Path) -> None:
    feature = (site / "features" / "die_neighborhood.fail__neighbor_frac.html").read_text("utf-8")
    for told in ("die_neighborhood:fail__neighbor_frac", "no neighbor judged", "before_test", "service", "die_tests",
                 "on wafer W01 of lot SYN0001", "eight king-move neighbors"):  # fmt: skip
        assert told in feature, told
    power = (site / "features" / "power_metrics.power_w.html").read_text("utf-8")
    assert "vdd * idd" in power
    assert "<dd>W</dd>" in power
    assert "<script>alert" not in power
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp;" in power
    view = (site / "views" / "die_geometry.html").read_text("utf-8")
    for told in ("the probe team", "two are enough", "- features[edge_distance_mm]", "Changed since v1.0", "v1.1"):
        assert told in view, told
    assert "not materialized" in (site / "views" / "lot_so_far.html").read_text("utf-8")
    index = (site / "index.html").read_text("utf-8")
    assert "By owner" in index
    assert "</script> &" not in index


def test_a_folder_of_others_is_left_alone_and_ours_is_replaced(site: Path, spark: SparkSession, tmp_path: Path) -> None:
    store = open_store(site.parent, spark)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine", "utf-8")
    with pytest.raises(RequestError, match=r"holds other files than a site of ours.*Hint"):
        write_docs(store, other)
    assert [file.name for file in other.iterdir()] == ["thesis.txt"]
    with pytest.raises(RequestError, match="is a file"):
        write_docs(store, other / "thesis.txt")
    own, link = tmp_path / "own", tmp_path / "link"
    shutil.copytree(site, own)
    link.symlink_to(own)
    mark = own / ".fs_spark_docs"
    mark.write_text(mark.read_text("utf-8").replace('"files": [', '"files": ["views/gone.html", '), "utf-8")
    (own / "views" / "gone.html").write_text("of a view that is gone", "utf-8")
    write_docs(store, link)
    assert link.is_symlink()
    assert {file.name for file in own.rglob("*.html")} == {file.name for file in site.rglob("*.html")}
    (own / "CNAME").write_text("features.example.org", "utf-8")
    with pytest.raises(RequestError, match="CNAME"):
        write_docs(store, own)
    assert (own / "index.html").is_file()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link", "other", "own"]


def test_a_site_that_cannot_be_put_in_its_place_leaves_the_old_one(
    site: Path, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    shutil.copytree(site, own)
    plain = os.replace

    def failing(source: Path, target: Path) -> None:
        if Path(source).name == "new":
            raise OSError(16, "Device or resource busy")
        plain(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(RequestError, match=r"could not be put at .*busy\. Hint"):
        write_docs(open_store(site.parent, spark), own)
    assert {file.name for file in own.rglob("*.html")} == {file.name for file in site.rglob("*.html")}
    assert [one.name for one in tmp_path.iterdir()] == ["own"]


def test_distributions_are_those_of_a_plain_loop(spark: SparkSession) -> None:
    generator = np.random.default_rng(7)
    rows = [
        (number, float(generator.normal()) if number % 7 else None, float("nan") if number % 11 == 0 else 2.0 * number,
         int(number % 5), number % 3 == 0 if number % 4 else None, f"w{number % 13}" if number % 6 else None, None)
        for number in range(3000)
    ]  # fmt: skip
    kinds = {"a": "double", "b": "double", "c": "int", "d": "boolean", "e": "string", "f": "double"}
    schema = "key int, a double, b double, c int, d boolean, e string, f double"
    frame = spark.createDataFrame(rows, schema).repartition(3)
    found = distributions(frame, kinds, ["key"], count=3000, sample=10_000)
    for at, name in enumerate(kinds, start=1):
        values = [row[at] for row in rows]
        there: list[Any] = [v for v in values if v is not None and not (isinstance(v, float) and math.isnan(v))]
        assert (found[name].rows, found[name].missing) == (3000, 3000 - len(there)), name
        if kinds[name] in ("double", "int") and there:
            told = found[name]
            assert (told.least, told.most) == (min(there), max(there))
            assert told.mean == pytest.approx(math.fsum(there) / len(there))
            ordered = sorted(map(float, there))
            wanted = [ordered[round(share * (len(ordered) - 1))] for share in (0.05, 0.25, 0.5, 0.75, 0.95)]
            assert told.quantiles == pytest.approx(wanted)
            assert sum(share for _, _, share in told.bars) == pytest.approx(1, abs=0.021)
    assert found["f"].bars == ()
    assert [share for _, _, share in found["c"].bars] == [pytest.approx(0.2)] * 5
    words = {word: share for word, _, share in found["e"].bars}
    named = [row[5] for row in rows if row[5] is not None]
    assert words == {word: pytest.approx(named.count(word) / len(named)) for word in words}
    assert len(words) == 8
    few = distributions(frame, kinds, ["key"], count=3000, sample=300)
    assert few["a"].missing == found["a"].missing
    assert few["a"].least == found["a"].least  # the sample is for quantiles and bars alone
    assert distributions(frame.where("false"), kinds, ["key"], count=0)["a"].rows == 0


def test_parts_without_a_chosen_row_are_merged() -> None:
    parts = []
    for chosen in (False, True):
        batch = pa.RecordBatch.from_pydict({"a": [1.0, 2.0], "__chosen": [chosen, chosen]})
        parts += [row for told in distribution._summaries(iter([batch])) for row in told.to_pylist()]
    found = distribution._merged(parts, "double")
    assert (found.rows, found.quantiles) == (4, (1.0, 1.0, 1.0, 2.0, 2.0))


def test_tasks_without_a_chosen_row(spark: SparkSession) -> None:
    """Sampled by keys: the first tasks have no row of the sample."""
    frame = spark.range(4000, numPartitions=1).selectExpr("id AS key", "id * 1.5 AS a", "CAST(id AS string) AS e")
    chosen = "pmod(xxhash64(key), 100) = 0"
    parts = frame.where(f"NOT {chosen}").coalesce(1).unionByName(frame.where(chosen).coalesce(1))
    found = distributions(parts, {"a": "double", "e": "string"}, ["key"], count=4000, sample=40)
    assert found["a"].rows == found["e"].rows == 4000
    assert found["a"].quantiles is not None
    assert found["e"].bars


@pytest.mark.parametrize(
    "numbers", [(0.3, 0.1 + 0.2), (1.0, 1.0 + 2.0**-52), (-1.7e308, 1.7e308), (5e-324, 0.0), (float("inf"), 1.0)]
)
def test_values_that_cannot_be_divided_into_bars(numbers: tuple[float, float]) -> None:
    bars = distribution._bars(np.sort(np.array([one for one in numbers * 50 if math.isfinite(one)])), "double")
    assert sum(share for _, _, share in bars) == pytest.approx(1)


def test_what_is_made_from_nothing_stands_beside_what_is_made_of_it() -> None:
    table, file, view, feature = (Node(kind, kind) for kind in ("table", "file", "view", "feature"))
    runs = Node("table", "runs")
    found = Lineage(feature)
    for edge in ((table, view), (file, runs), (runs, view), (view, feature)):
        found.add(*edge)
    drawn = pictures.lineage_picture(found, {view: "v.html"})
    x = {name: int(re.search(rf'<title>{name}</title><rect x="(\d+)"', drawn)[1])  # type: ignore[index]
         for name in map(str, (table, file, view, feature, runs))}  # fmt: skip
    assert x[str(file)] < x[str(runs)] == x[str(table)] < x[str(view)] < x[str(feature)]
    assert '<a href="v.html">' in drawn


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None and not os.environ.get("CI"):
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        yield opened
        opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_pages_fit_a_screen(site: Path, browser: Any, scheme: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page, problems = context.new_page(), []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda fault: problems.append(str(fault)))
    page.on("requestfailed", lambda asked: problems.append(asked.url))
    grounds = set()
    for name in ("index.html", "views/die_neighborhood.html", "views/die_geometry.html",
                 "features/power_metrics.power_w.html",
                 "features/die_neighborhood.fail__neighbor_frac.html"):  # fmt: skip
        page.goto((site / name).as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert len(page.screenshot()) > 5000
    context.close()
    assert not problems
    assert grounds == {"rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 26)"}


def test_the_search_finds_by_keyboard_alone(site: Path, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 375, "height": 700})
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("Neighbor FRAC")
    assert page.inner_text("#count") == "1 is found"
    assert not page.is_visible("#all")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/features/die_neighborhood.fail__neighbor_frac.html")
    assert page.inner_text("h1") == "fail__neighbor_frac"
    page.go_back()
    page.fill("#search", "no such words at all")
    assert page.inner_text("#count") == "0 are found"
    page.fill("#search", "")
    assert page.is_visible("#all")
    page.fill("#search", "probe team radius")
    assert set(page.locator("#found a").all_inner_texts()) == {"radius_mm", "radius_norm"}
    page.close()
