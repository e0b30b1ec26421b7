"""Whose file it is: testers, products, lots, wafers and insertions by ordered rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fs_spark.config import load_configuration
from fs_spark.errors import StdfError
from fs_spark.stdf import read_stdf, rules
from fs_spark.stdf.identity import Identity, apply_rule, find_product, find_tester
from tests.conftest import ROOT
from tests.stdf.files import ANY_TESTER, Maker, in_zone, plain_bytes, product, real_file

MIR: dict[str, Any] = {
    "lot_id": "abc123.1", "part_typ": "CHIP7", "node_nam": "T1", "tstr_typ": "J750", "job_nam": "chip_cp2_rev3",
    "sblot_id": "abc123_W02", "test_cod": "CP2", "flow_id": None, "user_txt": None,
}  # fmt: skip


def rule(field: str, pattern: str, value: str = r"\1") -> dict[str, str]:
    return {"field": field, "pattern": pattern, "value": value}


def identity(file_name: str = "", mir: dict[str, Any] = MIR, **options: Any) -> Identity:
    return Identity.of(mir, [product(**options)], file_name)


# testers


@pytest.mark.parametrize(
    ("matches", "found"),
    [
        (["T1", "*"], 0),
        (["T2", "j750", "*"], 1),  # by TSTR_TYP, in any case
        (["T?", "T1"], 0),
        (["J7*"], 0),
        (["T2", "*"], 1),
    ],
)
def test_the_first_tester_that_matches_wins(matches: list[str], found: int) -> None:
    testers = [in_zone(match=match) for match in matches]
    assert find_tester(MIR, testers) is testers[found]


def test_no_tester_is_guessed_but_any_may_be_chosen() -> None:
    nameless = {**MIR, "node_nam": None, "tstr_typ": None}
    with pytest.raises(StdfError, match=r"Hint: add it to testers\.yaml"):
        find_tester(nameless, [in_zone(match="T1")])
    assert find_tester(nameless, ANY_TESTER) is ANY_TESTER[0]


# products


def test_the_first_product_whose_patterns_all_match() -> None:
    products = [
        product("by_job", match={"job_nam": "*_cp1_*"}),
        product("both", match={"part_typ": "chip*", "lot_id": "XYZ*"}),
        product("mine", match={"part_typ": "CHIP7", "job_nam": "chip_*"}),
        product("late"),
    ]
    assert find_product(MIR, products).product_id == "mine"
    assert find_product({**MIR, "lot_id": "xyz9"}, products).product_id == "both"
    assert find_product({**MIR, "part_typ": None}, products).product_id == "late"


def test_without_a_product_the_part_type_names_it() -> None:
    assert find_product(MIR, []).product_id == "CHIP7"
    assert find_product({**MIR, "part_typ": None}, []).product_id == "unknown"


# lot


def test_the_lot_is_normalized_by_rule_or_stays() -> None:
    assert identity().lot_id == "abc123.1"
    assert identity(lot_id=[rule("lot_id", r"(?i)^([a-z]+\d+)(\.\d+)?$", r"\1")]).lot_id == "abc123"
    assert identity(lot_id=[rule("lot_id", "^NEVER(.)"), rule("sblot_id", r"^(\w+)_W")]).lot_id == "abc123"
    assert identity(mir={**MIR, "lot_id": None}).lot_id is None


# insertion


def test_the_insertion_is_1_unless_a_rule_says_otherwise() -> None:
    assert identity().insertion == "1"
    assert identity(insertion=[rule("test_cod", r"^CP(\d)$")]).insertion == "2"
    in_order = [rule("flow_id", "(.+)"), rule("job_nam", r"_cp(\d)_", r"CP\1"), rule("test_cod", "(.+)")]
    assert identity(insertion=in_order).insertion == "CP2"
    assert identity("x_hot_R1.stdf", insertion=[rule("file_name", "_hot_", "hot")]).insertion == "hot"
    assert identity(insertion=[rule("test_cod", "^CP2(.*)$")]).insertion == "1"  # an empty answer is none


# wafer


@pytest.mark.parametrize(
    ("order", "wir", "wrr", "expected"),
    [
        (["wrr", "wir"], "A", "B", "B"),
        (["wrr", "wir"], "A", None, "A"),
        (["wir", "wrr"], "A", "B", "A"),
        (["wrr", "wir"], None, None, None),
        (["wrr", "wir", rule("sblot_id", r"_W(\d+)$", r"W\1")], None, None, "W02"),
        (["wrr", "wir", rule("sblot_id", r"_W(\d+)$", r"W\1")], "A", None, "A"),
        ([rule("sblot_id", r"_W(\d+)$", r"W\1"), "wrr"], "A", "B", "W02"),
        (["wrr", rule("user_txt", "(.)"), rule("file_name", r"_w(\d+)_")], "A", None, "07"),
    ],
)
def test_the_wafer_by_ordered_rules(order: list[Any], wir: str | None, wrr: str | None, expected: str | None) -> None:
    found = identity("lot_w07_R0.stdf", wafer_id=order)
    assert found.wafer_id(MIR, "lot_w07_R0.stdf", wir=wir, wrr=wrr) == expected


def test_a_rule_reads_a_field_and_writes_a_template() -> None:
    swap = rules.Rule.model_validate(rule("sblot_id", r"(\w+)_(W\d+)", r"\2-\1"))
    assert apply_rule(swap, MIR, "") == "W02-abc123"
    assert apply_rule(rules.Rule.model_validate(rule("flow_id", "(.)")), MIR, "") is None
    assert apply_rule(rules.Rule.model_validate(rule("lot_id", "(Q)")), MIR, "") is None


def test_a_pattern_and_a_field_must_exist() -> None:
    with pytest.raises(ValidationError, match="no regular expression"):
        product(lot_id=[rule("lot_id", "(")])
    with pytest.raises(ValidationError, match="lot_id"):
        product(lot_id=[rule("LOT", "(.)")])


# whole files


def test_a_wafer_without_a_name_in_the_file_has_it_from_the_file_name(tmp_path: Path) -> None:
    content = Maker().begin().pir(0).prr(0, 0, 0).end()
    path = tmp_path / "lot_W05_R0.stdf"
    path.write_bytes(content)
    by_name = product(wafer_id=["wrr", "wir", rule("file_name", r"_(W\d+)_R\d")])
    assert read_stdf(path, products=[by_name]).parts["wafer_id"].to_pylist() == ["W05"]
    assert read_stdf(content, products=[by_name]).parts["wafer_id"].to_pylist() == [None]


@pytest.mark.parametrize("run", ["R0", "R1"])
@pytest.mark.parametrize("source", ["SBLOT_ID", "file name"])
def test_prod_wafer_w02(shared_data: Path, tmp_path: Path, run: str, source: str) -> None:
    """By the shipped rules from SBLOT_ID; with that blotted out, from the file name."""
    shipped = load_configuration(ROOT / "conf" / "store.yaml")
    path = real_file(shared_data, f"jervinkhoo-stdf-archive/PROD_69208_*_{run}_*")
    if source == "file name":
        data = plain_bytes(path)
        assert data.count(b"_W02") == 1
        path = tmp_path / path.name
        path.write_bytes(data.replace(b"_W02", b"_X02"))
    found = read_stdf(path, testers=shipped.testers, products=shipped.products)
    assert set(found.parts["wafer_id"].to_pylist()) == {"W02"}
    assert set(found.parts["insertion"].to_pylist()) == {"1"}  # a retest file is of the insertion that it retests
    assert set(found.parts["product_id"].to_pylist()) == {"p69208"}


def test_every_real_file_has_a_tester_in_the_shipped_configuration(shared_data: Path) -> None:
    shipped = load_configuration(ROOT / "conf" / "store.yaml")
    small = [p for p in shared_data.glob("*/*") if ".std" in p.name and "diamond40" not in p.name]
    assert len(small) == 13
    for path in small:
        found = read_stdf(path, testers=shipped.testers, products=shipped.products)
        assert found.parts["event_timestamp"].null_count == 0
