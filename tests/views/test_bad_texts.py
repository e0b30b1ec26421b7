"""Faults of entities, sources and views: each in a line with its file, place and a hint, all of a folder at once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fs_spark.config import load_configuration
from fs_spark.errors import ConfigError
from tests.views.stores import ENTITIES, SOURCES, VIEWS, write_conf

Change = Callable[[dict[str, Any]], None]


def said(folder: Path, views: dict[str, Any], **more: Any) -> list[str]:
    """What is wrong with a folder."""
    path = write_conf(folder, views, **more)
    with pytest.raises(ConfigError) as caught:
        load_configuration(path)
    return str(caught.value).splitlines()[1:]


def changed(name: str, **parts: Any) -> dict[str, Any]:
    views = copy.deepcopy(VIEWS)
    views[name] = {**views[name], **parts}
    return views


def transform(name: str, **parts: Any) -> dict[str, Any]:
    return changed(name, transform={**VIEWS[name]["transform"], **parts})


def feature(text: str) -> dict[str, Any]:
    return changed("values", features={"doubled": text})


def against(entity: str = "die", feature: Any = None, **parts: Any) -> dict[str, Any]:
    given = {"kind": "against", "source": "attempts", "parameters": ["vdd"], "population": "lot", **parts}
    transform = {name: value for name, value in given.items() if value is not None}
    return changed(
        "activity", entity=entity, transform=transform, features=[feature or {"column": "vdd", "statistics": "rank"}]
    )


def demand(features: Any = None, entity: str = "customer", **parts: Any) -> dict[str, Any]:
    """A view on demand over `activity`."""
    transform = {"kind": "expressions", "on_demand": True, "request": {"amount": "double"},
                 "inputs": [{"view": "activity", "as": "c"}], **parts}  # fmt: skip
    text = {"entity": entity, "transform": transform, "features": features or {"ratio": "amount / c.rows_24h"}}
    return {**copy.deepcopy(VIEWS), "asked": text}


def fitted(feature: Any = None, view: str = "paid", fit: Any = None) -> dict[str, Any]:
    span = {"from": "2025-01-01T00:00Z", "to": "2025-02-01T00:00Z"}
    transform = {"kind": "fitted", "view": view, "fit": fit or span}
    entity = "customer" if view == "activity" else "payment"
    text = {"entity": entity, "transform": transform, "features": [feature or {"column": "amount", "fit": "zscore"}]}
    return {**copy.deepcopy(VIEWS), "scores": text}


CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "unknown entity": (changed("activity", entity="custmer"), ("activity.yaml:", "did you mean 'customer'?")),
    "unknown source": (transform("values", source="payment"), ("values.yaml:", "did you mean 'payments'?")),
    "unknown kind": (transform("values", kind="expresions"), ("values.yaml:", "transform")),
    "unknown view": (
        changed("relative", entity="customer", transform={"kind": "expressions", "view": "activity",
                "by": {"customer_id": "custmer"}}, features={"twice": "rows_24h * 2"}),
        ("relative.yaml:", "lacks 'custmer'", "did you mean 'customer_id'?"),
    ),
    "unknown column": (feature("amont * 2"), ("values.yaml:", "did you mean", "amount")),
    "syntax": (feature("amount * "), ("values.yaml:", "an operand is missing")),
    "a function that is not on the list": (feature("soundex(kind)"), ("values.yaml:", "soundex", "Hint")),
    "chance": (feature("amount + rand()"), ("values.yaml:", "random")),
    "the clock": (feature("seconds_between(event_timestamp, now())"), ("values.yaml:", "reads the clock")),
    "more than a row": (feature("sum(amount)"), ("values.yaml:", "more than one row")),
    "types": (feature("kind * 2"), ("values.yaml:", "kind")),
    "an earlier class": (changed("values", knowledge="before_event"), ("values.yaml:", "earlier than at_event")),
    "a window without a unit": (
        changed("activity", features=[{"column": "amount", "statistics": "mean", "windows": "7"}]),
        ("activity.yaml:", "is not a window", "'24 h'"),
    ),
    "too long a window": (
        changed("activity", features=[{"column": "amount", "statistics": "mean", "windows": "400 d"}]),
        ("activity.yaml:", "at most 365 d"),
    ),
    "no window": (
        changed("activity", features=[{"column": "amount", "statistics": "mean"}]),
        ("activity.yaml:", "windows are missing"),
    ),
    "unknown statistic": (
        changed("activity", features=[{"column": "amount", "statistics": "average", "windows": "7 d"}]),
        ("activity.yaml:", "is not a statistic"),
    ),
    "a mean of words": (
        changed("activity", features=[{"column": "kind", "statistics": "mean", "windows": "7 d"}]),
        ("activity.yaml:", "of numbers alone"),
    ),
    "a where without a name": (
        changed("activity", features=[{"column": "amount", "statistics": "sum", "windows": "7 d", "where": "ok"}]),
        ("activity.yaml:", "needs a name"),
    ),
    "a feature twice": (
        changed("paid", features=["amount", {"name": "amount", "column": "kind"}]),
        ("paid.yaml:", "'amount' is defined twice"),
    ),
    "a feature called like a time": (changed("values", features={"sequence": "amount"}),
                                     ("values.yaml:", "sequence")),
    "a step of a delivered source": (
        changed("activity", transform={"kind": "aggregate", "source": "payments", "step": "customer"},
                features=[{"statistics": "rows"}]),
        ("activity.yaml:", "step: options of the store's own tables"),
    ),
    "a step whose end nobody knows": (
        changed("activity", entity="lot", transform={"kind": "aggregate", "source": "attempts", "step": "lot"},
                features=[{"statistics": "rows"}]),
        ("activity.yaml:", "no end of 'lot' is known. Hint: wafer"),
    ),
    "a step of what is complete": (
        changed("activity", entity="lot", features=[{"statistics": "rows"}],
                transform={"kind": "aggregate", "source": "attempts", "step": "wafer", "mode": "complete",
                           "close": {"count": 2}}),
        ("activity.yaml:", "`step` is of what is so far"),
    ),
    "against what does not close": (
        against(population="die"), ("activity.yaml:", "die does not close. Hint: lot or wafer"),
    ),
    "against an unknown entity": (
        against(population="lott"), ("activity.yaml:", "entity 'lott' is not known", "did you mean 'lot'?"),
    ),
    "against of another entity": (against("lot"), ("activity.yaml:", "lot is not what attempts has rows of")),
    "against of a delivered source": (
        against("payment", {"column": "amount", "statistics": "rank"}, source="payments", parameters=None),
        ("activity.yaml:", "Hint: write source: attempts"),
    ),
    "against of a text": (
        against(feature={"column": "tester", "statistics": "rank"}),
        ("activity.yaml:", "tester is string, no number to compare"),
    ),
    "against twice": (
        against(feature={"column": "vdd", "statistics": ["rank", "rank"]}),
        ("activity.yaml:", "'vdd__rank_lot' is defined twice"),
    ),
    "an unknown comparison": (
        against(feature={"column": "vdd", "statistics": "zscore"}), ("activity.yaml:", "rank", "zscore"),
    ),
    "a source among several inputs": (
        transform("relative", inputs=[{"source": "payments", "as": "p"}, {"view": "activity", "as": "c", "as_of": True,
                                                                          "by": {"customer_id": "customer_id"}}]),
        ("relative.yaml:", "of several inputs all are views"),
    ),
    "a parameter called like a column": (
        changed("activity", entity="lot", features=[{"statistics": "rows"}],
                transform={"kind": "aggregate", "source": "attempts", "parameters": ["site"]}),
        ("activity.yaml:", "parameter 'site' is called like a column of attempts"),
    ),
    "against over another table": (
        against("wafer", {"column": "fails", "statistics": "rank"}, source="wafer_runs", parameters=None),
        ("activity.yaml:", "Hint: write source: attempts"),
    ),
    "terms of a rolling view": (
        changed("activity", terms={"degree": 2, "of": ["amount"]}),
        ("activity.yaml:", "terms are of a view of expressions, not of rolling"),
    ),
    "bins of columns": (
        changed("paid", bins={"size": {"of": "amount", "edges": [0.0, 1.0]}}),
        ("paid.yaml:", "bins are of a view of expressions, not of columns"),
    ),
    "words of columns": (
        changed("paid", one_hot={"customer": ["a"]}), ("paid.yaml:", "one_hot are of a view of expressions"),
    ),
    "a prefix of expressions": (changed("values", prefix="x"), ("values.yaml:", "names its features itself")),
    "an expression of another type": (
        changed("values", features={"doubled": {"expression": "amount * 2", "type": "string"}}),
        ("values.yaml:", "doubled is double, not string. Hint: CAST(amount * 2 AS string)"),
    ),
    "a column and an expression": (
        changed("values", features={"doubled": {"expression": "amount * 2", "column": "amount"}}),
        ("values.yaml:", "a column and an expression"),
    ),
    "on demand of a source": (
        demand({"n": "amount * 2"}, inputs=[{"source": "payments"}]), ("asked.yaml:", "a view on demand reads views"),
    ),
    "a request that nobody reads": (
        demand(request={"amount": "double", "word": "string"}), ("asked.yaml:", "no feature reads 'word'"),
    ),
    "on demand without its column": (demand({"ratio": "amont * 2"}), ("asked.yaml:", "did you mean")),
    "on demand by a key that nobody has": (
        demand(entity="payment"), ("asked.yaml:", "the question has no 'customer_id'", "of activity"),
    ),
    "a request called like a key": (
        demand(request={"amount": "double", "customer_id": "string"}),
        ("asked.yaml:", "is a key or a time of the question"),
    ),
    "a time to live of what has no rows": (
        {**demand(), "asked": {**demand()["asked"], "ttl": "1 d"}}, ("asked.yaml:", "no use for ttl"),
    ),
    "a view over one on demand": (
        {**demand(), "over": {"entity": "customer", "transform": {"kind": "expressions", "view": "asked"},
                              "features": {"more": "ratio + 1"}}},
        ("over.yaml:", "asked has no rows, it is computed on demand"),
    ),
    "a request of what is stored": (
        transform("values", request={"amount": "double"}), ("values.yaml:", "add on_demand: true"),
    ),
    "a list in a request": (
        demand(request={"amount": "array<double>"}, features={"n": "c.rows_24h + 1"}),
        ("asked.yaml:", "do not read array<double>"),
    ),
    "a fit without rows": (fitted(fit={"revisions": "all"}), ("scores.yaml:", "revisions")),
    "a fit that grows": (fitted(fit={"from": "2025-01-01T00:00Z"}), ("scores.yaml:", "`from` and `to` come together")),
    "a fit of a naive time": (
        fitted(fit={"from": "2025-01-01T00:00Z", "to": "2025-01-02T00:00"}), ("scores.yaml:", "timezone"),
    ),
    "a fit of states": (
        fitted({"column": "rows_24h", "fit": "zscore"}, view="activity"), ("scores.yaml:", "activity gives states"),
    ),
    "a fit by nobody": (
        fitted({"column": "amount", "fit": "zscore", "by": "knd"}), ("scores.yaml:", "no column 'knd'"),
    ),
    "a fit of words": (
        fitted({"column": "customer", "fit": "zscore"}), ("scores.yaml:", "zscore of customer, which is string"),
    ),
    "an offset of nothing": (
        fitted({"column": "amount", "fit": "offset", "by": "customer", "against": "customer"}),
        ("scores.yaml:", "a group against a wider one"),
    ),
    "a word of another fit": (
        fitted({"column": "amount", "fit": "zscore", "bins": 4}), ("scores.yaml:", "`bins` is of bins"),
    ),
    "a fit of rows by a number": (
        fitted(fit={"rows": {"amount": [1]}}), ("scores.yaml:", "amount is double, by which no rows are chosen"),
    ),
    "a fit of rows that no column tells": (
        fitted(fit={"lots": ["L1"]}), ("scores.yaml:", "paid has no column 'lot_id'"),
    ),
    "no feature": (changed("values", features={}), ("values.yaml:", "no feature is asked for")),
    "an expectation of nothing": (
        changed("values", expectations=[{"column": "doubled"}]),
        ("values.yaml:", "says one thing"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_fault_is_told_with_its_place(tmp_path: Path, case: str) -> None:
    views, words = CASES[case]
    lines = said(tmp_path, views)
    assert all(any(word in line for line in lines) for word in words), lines
    assert len([line for line in lines if line.startswith("- ")]) == 1, lines


SOURCE_CASES: dict[str, tuple[dict[str, Any], str]] = {
    "no place": ({"parquet": None}, "exactly one of delta, parquet, csv, table"),
    "two places": ({"csv": "x"}, "exactly one of delta, parquet, csv, table"),
    "a key without a type": ({"keys": ["row", "row_id"]}, "row not among `columns`"),
    "an unknown type": ({"columns": {**SOURCES["payments"]["columns"], "amount": "float"}}, "amount"),
    "a time that is a number": ({"event": "amount"}, "must be timestamp or date"),
    "a filter": ({"filter": "amont > 0"}, "did you mean"),
    "a zone": ({"zone": "Europe/Berln"}, "is not a time zone"),
    "negative": ({"available": {"after_event": "-2 h"}}, "is not a span"),
    "an unknown key": ({"availble": "known_at"}, "availble"),
}


@pytest.mark.parametrize("case", SOURCE_CASES)
def test_a_source(tmp_path: Path, case: str) -> None:
    parts, words = SOURCE_CASES[case]
    given = {k: v for k, v in {**SOURCES["payments"], **parts}.items() if v is not None}
    lines = said(tmp_path, {}, sources={"payments": given})
    assert "sources.yaml:" in lines[0]
    assert any(words in line for line in lines), lines


def test_faults_of_several_files_are_told_at_once(tmp_path: Path) -> None:
    views = feature("amont * 2") | {"paid": {**VIEWS["paid"], "entity": "paymnt"}}
    lines = said(tmp_path, views, services={"s": {"features": ["no reference"]}})
    told = [line for line in lines if line.startswith("- ")]
    assert sorted(line.split(":")[0] for line in told if "relative" not in line) == [
        "- paid.yaml", "- services.yaml", "- values.yaml"
    ]  # fmt: skip


def test_a_yaml_bomb_and_a_python_tag_are_refused(tmp_path: Path) -> None:
    path = write_conf(tmp_path, VIEWS)
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}]\n"
        for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    (tmp_path / "conf" / "views" / "bomb.yaml").write_text(bomb)
    (tmp_path / "conf" / "views" / "tag.yaml").write_text("name: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ConfigError) as caught:
        load_configuration(path)
    assert "bomb.yaml" in str(caught.value)
    assert "tag.yaml" in str(caught.value)


def test_a_fault_in_entities_or_sources_hides_no_other(tmp_path: Path) -> None:
    """Views that read neither of what is wrong are judged all the same."""
    views = copy.deepcopy(VIEWS)
    views["values"]["features"] = {"doubled": "amont * 2"}
    entities = {"customer": {"keys": {"customer_id": "text"}}, "payment": {"keys": {"row_id": "bigint"}}}
    found = [line for line in said(tmp_path, views, entities=entities) if line.startswith("- ")]
    assert len(found) == 2, found
    assert any("entities.yaml:" in line and "customer_id" in line for line in found)
    assert any("values.yaml:" in line and "amont" in line for line in found)


def test_a_file_of_entities_that_cannot_be_read_is_the_one_fault(tmp_path: Path) -> None:
    """Views are not told that their entities are unknown."""
    path = write_conf(tmp_path, VIEWS)
    (tmp_path / "conf" / "entities.yaml").write_text("entities: [")
    with pytest.raises(ConfigError) as caught:
        load_configuration(path)
    found = [line for line in str(caught.value).splitlines() if line.startswith("- ")]
    assert [line.split(":")[0] for line in found] == ["- entities.yaml"], found


def test_views_in_python_mean_what_their_texts_mean(tmp_path: Path) -> None:
    folder, other = tmp_path / "texts", tmp_path / "python"
    texts = {view.name: view for view in load_configuration(write_conf(folder)).views}
    given = [{"name": name, "version": "1.0", **body} for name, body in VIEWS.items()]
    found = load_configuration(write_conf(other, {}), views=given)
    assert {view.name: view.definition_hash for view in found.views} == {
        name: view.definition_hash for name, view in texts.items()
    }
    wrong: list[Any] = [{**given[0], "owners": "x"}, "activity", given[1]]
    with pytest.raises(ConfigError) as fault:
        load_configuration(write_conf(folder), views=wrong)
    lines = str(fault.value).splitlines()[1:]
    assert [line.split(":")[0] for line in lines] == ["- views[0]", "- views[1]", "- views"]
    assert "did you mean 'owner'?" in lines[0]
    assert "as a mapping, or a FeatureView" in lines[1]
    assert "defined 2 times" in lines[2]


def test_a_population_is_a_lot_or_a_wafer(tmp_path: Path) -> None:
    entities = {"tested": {"keys": {"lot_id": "string", "die_x": "int"}}}
    lines = said(tmp_path, against(population="tested"), entities={**ENTITIES, **entities})
    assert any("tested does not close. Hint: lot or wafer" in line for line in lines), lines
