"""The configuration folder: what is shipped loads, and every fault is told at once, with its file, key and a hint."""

from __future__ import annotations

import re
import shutil
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from fs_spark.config import load_configuration, load_store_config
from fs_spark.errors import ConfigError
from fs_spark.features.service import FeatureReference
from fs_spark.features.view import FeatureView
from tests.conftest import ROOT


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A copy of the shipped folder."""
    folder = tmp_path / "conf"
    shutil.copytree(ROOT / "conf", folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return folder


def change(file: Path, **keys: Any) -> None:
    """Sets keys of a YAML file; None takes a key away."""
    content = {**yaml.safe_load(file.read_text()), **keys}
    file.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))


def faults(conf: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_configuration(conf / "store.yaml")
    first, *found = str(caught.value).splitlines()
    assert first == f"{conf}: {'1 fault' if len(found) == 1 else f'{len(found)} faults'} in the configuration:"
    assert all(fault.startswith("- ") for fault in found)
    return [re.sub(r"^- ([\w.]+\.yaml):\d+: ", r"\1: ", fault).removeprefix("- ") for fault in found]


# what is shipped


def test_the_shipped_configuration_loads(conf: Path) -> None:
    found = load_configuration(conf / "store.yaml")
    assert found.root == str(conf.parent / "store")
    assert found.online_url == f"sqlite:///{conf.parent / 'store' / 'online.sqlite'}"
    assert (found.store.availability, found.store.horizon_days) == ("streaming", 3650)
    assert [product.product_id for product in found.products] == ["synchip", "idctca3147w", "gold8bar", "p69208"]
    views = [view for view in found.views if isinstance(view, FeatureView)]
    assert {view.name: (view.knowledge, view.boundary, view.entity) for view in views} == {
        "die_geometry": ("static", "at_or_before", "die"),
        "die_measured": ("at_test", "strictly_before", "die"),
        "die_neighborhood": ("before_test", "at_or_before", "die"),
        "lot_so_far": ("after_wafer", "strictly_before", "lot"),
    }
    assert all(view.insertion == "1" for view in views)


def test_every_reference_of_a_shipped_service_is_a_column_of_a_shipped_view(conf: Path) -> None:
    found = load_configuration(conf / "store.yaml")
    columns = {view.name: view.columns for view in found.views}
    assert found.services
    for service in found.services.values():
        for text in service.features:
            reference = FeatureReference.parse(text)
            assert reference.feature in columns[reference.view], text


def test_only_the_store_file_is_needed(tmp_path: Path) -> None:
    (tmp_path / "store.yaml").write_text("root: s3://bucket/store\nonline: redis://host:6379/0\n")
    found = load_configuration(tmp_path / "store.yaml")
    assert (found.root, found.online_url) == ("s3://bucket/store", "redis://host:6379/0")
    assert (found.testers, found.products, found.views, found.services) == ((), (), (), {})
    assert load_store_config(tmp_path / "store.yaml") == found.store


def test_a_catalog_has_no_root(tmp_path: Path) -> None:
    (tmp_path / "store.yaml").write_text("catalog: fab.test\n")
    found = load_configuration(tmp_path / "store.yaml")
    assert (found.root, found.store.catalog) == (None, "fab.test")


def test_a_configuration_is_frozen(conf: Path) -> None:
    found = load_configuration(conf / "store.yaml")
    with pytest.raises(ValidationError, match="frozen"):
        found.store.root = "elsewhere"  # type: ignore[misc]


# faults


def test_the_faults_of_all_files_are_told_together(conf: Path) -> None:
    change(conf / "store.yaml", horizn="interval 30 days", availability="sometimes")
    change(conf / "testers.yaml", testers=[{"match": "*", "zone": "Berlin"}])
    change(conf / "views" / "die_measured.yaml", features=["{p}__neighbour_mean"])
    found = faults(conf)
    assert len(found) == 4
    assert "store.yaml: horizn: unknown key. Hint: did you mean 'horizon'?" in found
    assert any(
        f.startswith("store.yaml: availability: ") and "'streaming', 'file_close' or 'arrival'" in f for f in found
    )
    (zone,) = (fault for fault in found if "testers.yaml" in fault)
    assert zone == "testers.yaml: testers.0.zone: 'Berlin' is no time zone. " + (
        "Hint: use an IANA name such as 'Europe/Berlin' or 'UTC'"
    )
    (view,) = (fault for fault in found if "die_measured.yaml" in fault)
    assert "'{p}__neighbour_mean' is not in the catalogue. Hint: did you mean '{p}__neighbor_mean'?" in view


@pytest.mark.parametrize(
    ("file", "keys", "text"),
    [
        ("store.yaml", {"bananas": 1}, "store.yaml: bananas: unknown key. Hint: known keys are root, catalog, horizon"),
        ("testers.yaml", {"tester": []}, "testers.yaml: tester: unknown key. Hint: did you mean 'testers'?"),
        ("testers.yaml", {"testers": [{"match": "*", "zone": "UTC", "tz": "x"}]}, "testers.0.tz: unknown key."),
        ("views/lot_so_far.yaml", {"ttll": "3 d"}, "lot_so_far.yaml: ttll: unknown key. Hint: did you mean 'ttl'?"),
    ],
)
def test_an_unknown_key(conf: Path, file: str, keys: dict[str, Any], text: str) -> None:
    change(conf / file, **keys)
    (fault,) = faults(conf)
    assert text in fault


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"catalog": "fab.test"}, "give exactly one of `root` (folder or URI) and `catalog` (catalog.schema)"),
        ({"root": None}, "give exactly one of `root` (folder or URI) and `catalog` (catalog.schema)"),
        ({"root": None, "catalog": "fab"}, "store.yaml: catalog: "),
        ({"horizon": "10 years"}, "Hint: write 'interval 3650 days'; Delta refuses months and years"),
        ({"horizon": "interval 2 months"}, "Delta refuses months and years"),
        ({"availability_margin": "ninety"}, "Hint: write a number and a unit, such as '90 s' or '30 d'"),
        ({"wafer_map": {"edge_exclusion_mm": -1}}, "store.yaml: wafer_map.edge_exclusion_mm: "),
    ],
)
def test_a_fault_of_the_store_file(conf: Path, keys: dict[str, Any], text: str) -> None:
    change(conf / "store.yaml", **keys)
    (fault,) = faults(conf)
    assert text in fault


def test_durations_are_read_in_words(conf: Path) -> None:
    change(conf / "store.yaml", availability_margin="90 s")
    change(conf / "testers.yaml", testers=[{"match": "*", "zone": "UTC", "availability_margin": "250 ms"}])
    change(conf / "views" / "lot_so_far.yaml", ttl="30 d")
    found = load_configuration(conf / "store.yaml")
    assert found.store.availability_margin == timedelta(seconds=90)
    assert found.testers[0].availability_margin == timedelta(milliseconds=250)
    assert {view.name: view.ttl for view in found.views}["lot_so_far"] == timedelta(days=30)


@pytest.mark.parametrize("zone", ["CEST", "Europe/Munich", "../../etc/passwd", "", "UTC+1"])
def test_a_zone_that_does_not_exist(conf: Path, zone: str) -> None:
    change(conf / "testers.yaml", testers=[{"match": "*", "zone": zone}])
    (fault,) = faults(conf)
    assert f"{zone!r} is no time zone" in fault


def with_products(conf: Path, *products: dict[str, Any]) -> None:
    change(conf / "products.yaml", products=list(products))
    shutil.rmtree(conf / "views")
    change(conf / "services.yaml", services={})


def parameter(unit: str, **options: Any) -> dict[str, Any]:
    return {"test_num": 1, "test_name": "t", "unit": unit, **options}


def test_two_units_under_one_parameter_name(conf: Path) -> None:
    with_products(
        conf,
        {"product_id": "a", "parameters": {"idd": parameter("A"), "vdd": parameter("V")}},
        {"product_id": "b", "parameters": {"idd": parameter("mA"), "vdd": parameter("V")}},
    )
    with pytest.raises(ConfigError) as caught:
        load_configuration(conf / "store.yaml")
    (fault,) = str(caught.value).splitlines()[1:]
    lines = [i for i, line in enumerate((conf / "products.yaml").read_text().splitlines(), 1) if "idd:" in line]
    assert fault == (
        f"- products.yaml:{lines[1]}: parameter 'idd' of product b is in 'mA', and at products.yaml:{lines[0]}, of "
        "product a, in 'A'. Hint: write 'A' at both: values of files in other units are scaled to it"
    )


def test_two_quantities_under_one_parameter_name(conf: Path) -> None:
    with_products(
        conf,
        {"product_id": "a", "parameters": {"idd": parameter("a"), "vdd": parameter("v"), "x": parameter("")}},
        {"product_id": "b", "parameters": {"idd": parameter("A"), "vdd": parameter("A"), "x": parameter("V")}},
    )
    (fault,) = faults(conf)
    assert "parameter 'vdd' of product b is in 'A'" in fault
    assert fault.endswith("Hint: they are two quantities: give each its own name")


@pytest.mark.parametrize(
    ("products", "text"),
    [
        ([{"product_id": "a"}, {"product_id": "a"}], "product_id given twice: ['a']"),
        ([{"product_id": ""}], "products.0.product_id"),
        ([{"product_id": "a", "parameters": {"Idd": parameter("A")}}], "parameter names take [a-z0-9_]"),
        ([{"product_id": "a", "parameters": {"i__dd": parameter("A")}}], "no double underscore"),
        ([{"product_id": "a", "parameters": {"idd": parameter("A", occurrence="second")}}], "'first' or 'last'"),
        ([{"product_id": "a", "lot_id": [{"field": "lot_id", "pattern": "("}]}], "is no regular expression"),
        ([{"product_id": "a", "wafer_map": {"pitch": [0, 1]}}], "products.0.wafer_map.pitch.0"),
    ],
)
def test_a_fault_of_the_products_file(conf: Path, products: list[dict[str, Any]], text: str) -> None:
    with_products(conf, *products)
    (fault,) = faults(conf)
    assert text in fault


def test_a_parameter_that_no_product_maps(conf: Path) -> None:
    change(conf / "views" / "die_measured.yaml", parameters=["vdd", "frec", "quux"])
    found = faults(conf)
    assert found == [
        "die_measured.yaml: die_measured: parameter 'frec' is mapped by no product. Hint: did you mean 'freq'?",
        "die_measured.yaml: die_measured: parameter 'quux' is mapped by no product. "
        "Hint: map it to a test in products.yaml",
    ]


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (
            {"features": ["x_mm", "neighbor_count"]},
            "mixes features of more than one knowledge class: ['before_test', 'static']. Hint: make one view of each",
        ),
        ({"features": ["neighbor_count", "{p}"]}, "knowledge class: ['at_test', 'before_test']"),
        ({"features": ["wafers_done", "{p}"]}, "mixes features of more than one"),
        ({"features": ["{p}", "{p}"]}, "features given twice"),
        ({"parameters": ["vdd", "vdd"]}, "parameters given twice"),
        ({"parameters": None}, "has features per parameter but names no parameters"),
        ({"features": []}, "die_measured.yaml: features: "),
        ({"name": "die__measured"}, "`__` is reserved for versions"),
        ({"name": "Die"}, "is not a valid view name"),
        ({"version": "1"}, "die_measured.yaml: version: "),
        ({"ttl": "soon"}, "die_measured.yaml: ttl: "),
    ],
)
def test_a_fault_of_a_view(conf: Path, keys: dict[str, Any], text: str) -> None:
    change(conf / "views" / "die_measured.yaml", **keys)
    (fault,) = faults(conf)
    assert text in fault


def test_two_views_of_one_name(conf: Path) -> None:
    shutil.copy(conf / "views" / "lot_so_far.yaml", conf / "views" / "another.yaml")
    assert faults(conf) == ["views: lot_so_far is defined 2 times"]


@pytest.mark.parametrize("text", ["die_geometry", "die_geometry:", "Die:x", "die__v1:x", "die__v1.0__v2.0:x", "a:b:c"])
def test_a_bad_reference_in_a_service(conf: Path, text: str) -> None:
    change(conf / "services.yaml", services={"s": {"features": [text]}})
    (fault,) = faults(conf)
    assert f"{text!r} is not a feature reference. Hint: write 'view:feature' or 'view__v1.0:feature'" in fault


def test_a_reference_is_taken_apart() -> None:
    pinned = FeatureReference.parse("die_neighborhood__v2.10:vdd__neighbor_mean")
    assert (pinned.view, pinned.version, pinned.feature) == ("die_neighborhood", "2.10", "vdd__neighbor_mean")
    promoted = FeatureReference.parse("lot_so_far:wafers_done")
    assert (promoted.view, promoted.version, promoted.feature) == ("lot_so_far", None, "wafers_done")


@pytest.mark.parametrize("content", ["root: [", "root: \tx: y", "\x00"])
def test_what_is_not_yaml(conf: Path, content: str) -> None:
    (conf / "testers.yaml").write_text(content)
    (fault,) = faults(conf)
    assert fault.startswith("testers.yaml: not readable as YAML: ")


@pytest.mark.parametrize("content", ["- a\n- b\n", "just words\n"])
def test_yaml_of_another_shape(conf: Path, content: str) -> None:
    (conf / "store.yaml").write_text(content)
    (fault,) = faults(conf)
    assert fault.startswith("store.yaml: (whole file): ")


def test_no_store_file_at_all(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path)
    assert fault == f"{tmp_path / 'store.yaml'} does not exist. Hint: `fs-spark init` writes a starter configuration"
    with pytest.raises(ConfigError, match="fs-spark init"):
        load_store_config(tmp_path / "store.yaml")


def bomb() -> str:
    """Nine lines that stand for a billion values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 9)]
    return "\n".join(lines) + "\n"


MERGES = "a0: &a0 {x0: 1}\n" + "".join(
    f"a{k}: &a{k}\n  <<: [{', '.join([f'*a{k - 1}'] * 10)}]\n  x{k}: 1\n" for k in range(1, 9)
)


@pytest.mark.parametrize(
    "file", ["store.yaml", "testers.yaml", "products.yaml", "inputs.yaml", "services.yaml", "views/b.yaml"]
)
@pytest.mark.parametrize("text", [bomb(), MERGES, "a: &a [*a]\n", "a: &a {b: *a}\n", "[" * 5000, "{a: " * 5000])
def test_yaml_that_blows_up_is_refused_at_once(conf: Path, file: str, text: str) -> None:
    (conf / file).write_text(text)
    start = time.process_time()
    (fault,) = (fault for fault in faults(conf) if fault.startswith(Path(file).name))
    assert time.process_time() - start < 5  # nobody measures: without a limit it does not end
    assert len(fault) < 500
    assert "Hint: " in fault


def test_a_few_aliases_are_fine(conf: Path) -> None:
    (conf / "testers.yaml").write_text("testers:\n- &a {match: x, zone: UTC}\n- {<<: *a, match: y}\n")
    assert [(t.match, t.zone) for t in load_configuration(conf / "store.yaml").testers] == [("x", "UTC"), ("y", "UTC")]


@pytest.mark.parametrize("text", ["root: 2025-13-45\n", "? [a]\n: b\n", "{a: {b}: c}\n", "root: 1:99:\n"])
def test_yaml_with_values_that_cannot_be_is_a_fault_of_the_file(conf: Path, text: str) -> None:
    (conf / "store.yaml").write_text(text)
    assert all(fault.startswith("store.yaml: ") for fault in faults(conf))


# lines, and what a verb needs


@pytest.mark.parametrize(
    ("file", "text", "place"),
    [
        (
            "testers.yaml",
            "testers:\n- {match: a, zone: UTC}\n- match: b\n  zone: Berlin\n",
            "testers.yaml:4: testers.1.zone: ",
        ),
        (
            "products.yaml",
            "products:\n- product_id: a\n  parameters:\n    vdd:\n      test_num: -1\n      test_name: v\n",
            "products.yaml:5: products.0.parameters.vdd.test_num: ",
        ),
        (
            "products.yaml",
            "\nproducts:\n- product_id: a\n  wafer_id: [wrr, {field: lot_id, pattern: '('}]\n",
            "products.yaml:4: ",
        ),
        ("store.yaml", "root: x\n\nhorizn: 1\n", "store.yaml:3: horizn: unknown key"),
        ("services.yaml", "services:\n  s:\n    features: ['a:b:c']\n", "services.yaml:3: "),
    ],
)  # fmt: skip
def test_a_fault_names_its_line(conf: Path, file: str, text: str, place: str) -> None:
    (conf / file).write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_configuration(conf / "store.yaml")
    assert any(fault.startswith(f"- {place}") for fault in str(caught.value).splitlines())


def test_a_verb_is_stopped_by_faults_of_what_it_needs_alone(conf: Path) -> None:
    with_products(
        conf,
        {"product_id": "a", "parameters": {"idd": parameter("A")}},
        {"product_id": "b", "parameters": {"idd": parameter("V")}},
    )
    shutil.copytree(ROOT / "conf" / "views", conf / "views")
    found = load_configuration(conf / "store.yaml", strict=False)
    found.require("testers", "products", "inputs")  # ingest
    assert set(found.faults) == {"units", "parameters"}
    for needed, text in (("units", "parameter 'idd' of product b"), ("parameters", "mapped by no product")):
        with pytest.raises(ConfigError, match=text):
            found.require(needed)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="parameter 'idd' of product b") as caught:
        found.require()
    assert "mapped by no product" in str(caught.value)
    (conf / "products.yaml").write_text("product: []\n")
    broken = load_configuration(conf / "store.yaml", strict=False)
    broken.require("testers", "inputs", "services", "views", "units", "parameters")
    with pytest.raises(ConfigError, match=r"products\.yaml:1: product: unknown key"):
        broken.require("products")
    (conf / "store.yaml").write_text("rot: x\n")
    with pytest.raises(ConfigError, match="rot: unknown key"):
        load_configuration(conf / "store.yaml", strict=False)


# definitions


def test_the_hash_of_a_view_is_of_its_meaning_and_not_of_its_words() -> None:
    plain = {"name": "v", "version": "1.0", "features": ["{p}"], "parameters": ["vdd"]}
    view = FeatureView.model_validate(plain)
    assert FeatureView.model_validate_json(view.to_json()) == view
    assert FeatureView.model_validate({**plain, "description": "words"}).definition_hash == view.definition_hash
    for other in ({"insertion": "2"}, {"parameters": ["idd"]}, {"ttl": "1 d"}, {"version": "1.1"}, {"name": "w"}):
        assert FeatureView.model_validate({**plain, **other}).definition_hash != view.definition_hash


def test_a_view_names_its_columns_and_tables() -> None:
    view = FeatureView.model_validate(
        {
            "name": "near", "version": "1.2", "parameters": ["vdd", "idd"],
            "features": ["neighbor_count", "fail__neighbor_frac", "{p}__neighbor_mean"],
        }
    )  # fmt: skip
    assert view.columns == {
        "neighbor_count": "int",
        "fail__neighbor_frac": "double",
        "vdd__neighbor_mean": "double",
        "idd__neighbor_mean": "double",
    }
    assert (view.qualified, view.table) == ("near__v1.2", "near__v1_2")
    assert view.keys == ("lot_id", "wafer_id", "die_x", "die_y")
    assert view.unit_keys == ("lot_id", "wafer_id")
