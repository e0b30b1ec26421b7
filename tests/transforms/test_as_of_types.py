"""Columns of every type and name: what has no order is joined all the same, what cannot be told apart is refused."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, LongType, TimestampType

from fs_spark.errors import SchemaError
from fs_spark.transforms import AsOfView, as_of_join, as_of_row
from fs_spark.transforms.as_of_view import HeavyKey, check_join
from tests.rows import settings

HOUR = "timestamp '2025-01-01 {:02}:00:00'"


def view_rows(spark: SparkSession, columns: str, count: int = 6) -> DataFrame:
    """Rows of key k at 01:00, 02:00, ...; `columns` is SQL text over `i`, the hour."""
    start = HOUR.format(0)
    return spark.range(1, count + 1).selectExpr(
        "'k' AS k", f"{start} + make_dt_interval(0, int(id)) AS event_timestamp",
        f"{start} + make_dt_interval(0, int(id)) AS available_timestamp", "0L AS sequence", "id AS i",
    ).selectExpr("*", columns)  # fmt: skip


def spine_at(spark: SparkSession, *hours: int) -> DataFrame:
    return spark.range(1).selectExpr(
        "'k' AS k", f"explode(array({', '.join(HOUR.format(hour) for hour in hours)})) AS event_timestamp"
    )


def view_of(frame: DataFrame, *columns: str, **options: Any) -> AsOfView:
    return AsOfView(**{"name": "v", "frame": frame, "keys": ("k",), "columns": columns, **options})


UNORDERED = {
    "map": "map('b', i, 'a', -i)",
    "map_of_maps": "map('a', map('x', i))",
    "variant": "parse_json(concat('{\"b\": ', i, ', \"a\": 1}'))",
    "interval": "make_interval(0, int(i))",
    "struct_with_a_map": "named_struct('n', i, 'm', map('a', i))",
    "array_of_variants": "array(parse_json(string(i)), NULL)",
    "array_of_structs": "array(named_struct('a.b', map(i, array(i))))",
    "collated": "concat('x', i) COLLATE UTF8_LCASE",
}


@pytest.fixture
def always_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two views are many."""
    monkeypatch.setattr(as_of_row, "FEW", 1)


@pytest.mark.usefixtures("always_shared")
@pytest.mark.parametrize("name", UNORDERED)
def test_columns_that_have_no_order_are_joined(spark: SparkSession, name: str) -> None:
    """Alone and beside another view, whose rows lie in the same union; as text, since Arrow does not know all types."""
    frame = view_rows(spark, f"{UNORDERED[name]} AS value")
    views = [view_of(frame, "value", "i"), view_of(frame.select("*"), "value", name="w", prefix="w_", ttl=None)]
    joined = as_of_join(spine_at(spark, 1, 4, 9), views)
    assert joined.schema["value"].dataType == frame.schema["value"].dataType
    rows = joined.select(
        "event_timestamp", "i", F.col("value").isNull().alias("none"), _text(joined, "value")
    ).collect()
    expected = {row["i"]: row["text"] for row in frame.select("i", _text(frame, "value")).collect()}
    found = [(row["i"], row["none"], row["text"]) for row in sorted(rows)]
    assert found == [(None, True, None), (3, False, expected[3]), (6, False, expected[6])]
    assert joined.where(~F.col("w_value").isNull()).count() == 2


def _text(frame: DataFrame, name: str) -> Any:
    kind = frame.schema[name].dataType.simpleString()
    text = f"to_json({name})" if kind == "variant" or kind.startswith(("map", "struct", "array")) else f"string({name})"
    return F.expr(text).alias("text")


@pytest.mark.parametrize("name", UNORDERED)
def test_rows_that_tie_in_a_column_without_an_order_are_chosen_by_content(spark: SparkSession, name: str) -> None:
    """The same row wins in whatever order they come."""
    frame = view_rows(spark, f"{UNORDERED[name]} AS value").withColumn("event_timestamp", F.lit("2025-01-01 01:00"))
    frame = frame.withColumns(
        {c: F.to_timestamp("event_timestamp") for c in ("event_timestamp", "available_timestamp")}
    )
    won = set()
    for order in ("i", "-i", "hash(i)"):
        joined = as_of_join(spine_at(spark, 4), [view_of(frame.orderBy(F.expr(order)).coalesce(1), "value", "i")])
        won.add(joined.select("i").collect()[0]["i"])
    assert len(won) == 1


def test_a_heavy_key_of_rows_without_an_order(spark: SparkSession) -> None:
    frame = view_rows(spark, "map('a', i) AS value")
    cuts = tuple(
        row[0] for row in spine_at(spark, 2, 5).withColumn("t", F.expr("event_timestamp")).select("t").collect()
    )
    heavy = [HeavyKey({"k": "k"}, tuple(cut.replace(tzinfo=UTC) for cut in cuts))]
    joined = as_of_join(spine_at(spark, 1, 4, 9), [view_of(frame, "value")], heavy=heavy)
    assert [row["value"] for row in joined.orderBy("event_timestamp").collect()] == [None, {"a": 3}, {"a": 6}]


def test_spine_columns_of_any_type_come_back(spark: SparkSession) -> None:
    columns = {f"spine_{name}": F.expr(text.replace("i", "1")) for name, text in UNORDERED.items() if name == "map"}
    columns |= {"held": F.expr("parse_json('[1]')"), "nothing": F.lit(None), "span": F.expr("make_interval(1)")}
    spine = spine_at(spark, 4).withColumns(columns)
    joined = as_of_join(spine, [view_of(view_rows(spark, "1 AS value"), "value")])
    assert joined.dtypes[:-1] == spine.dtypes
    assert (
        joined.selectExpr("spine_map", "to_json(held) h", "string(span) s").collect()
        == spine.selectExpr("spine_map", "to_json(held) h", "string(span) s").collect()
    )


def test_texts_of_a_collation_match_as_it_says(spark: SparkSession) -> None:
    """Texts that are equal without equal bytes have other hashes."""
    frame = view_rows(spark, "1 AS value").withColumn("k", F.expr("'K' COLLATE UTF8_LCASE"))
    spine = spine_at(spark, 4).withColumn("k", F.expr("'k' COLLATE UTF8_LCASE"))
    assert [tuple(row) for row in as_of_join(spine, [view_of(frame, "value")]).select("k", "value").collect()] == [
        ("k", 1)
    ]


def refused(spine: DataFrame, *views: AsOfView, **options: Any) -> str:
    with pytest.raises(SchemaError) as fault:
        as_of_join(spine, views, **options)
    text = str(fault.value)
    assert all("Hint: " in line for line in text.splitlines()[1:])
    return text


@pytest.mark.parametrize("key", ["map('a', 1)", "parse_json('1')", "named_struct('m', map(1, 1))", "make_interval(1)"])
def test_a_key_that_cannot_be_compared_is_refused(spark: SparkSession, key: str) -> None:
    frame = view_rows(spark, "1 AS value").withColumn("k", F.expr(key))
    text = refused(spine_at(spark, 4).withColumn("k", F.expr(key)), view_of(frame, "value"))
    assert "key 'k' is " in text
    assert "whose values Spark does not compare" in text


def test_a_sequence_without_an_order_is_refused(spark: SparkSession) -> None:
    frame = view_rows(spark, "1 AS value").withColumn("sequence", F.expr("map('a', 1)"))
    assert "the sequence 'sequence' is map<string,int>, which has no order" in refused(
        spine_at(spark, 4), view_of(frame, "value")
    )


@pytest.mark.parametrize("second", ["label", "LABEL"])
def test_two_columns_of_one_name_in_the_spine_are_refused(spark: SparkSession, second: str) -> None:
    spine = spine_at(spark, 4).selectExpr("*", "1 AS label", f"2 AS {second}")
    text = refused(spine, view_of(view_rows(spark, "1 AS value"), "value"))
    assert "the spine has 2 columns called 'label'" in text
    assert ("their case does not count" in text) == (second == "LABEL")
    twice = spine_at(spark, 4).selectExpr("*", f"'k' AS {'K' if second == 'LABEL' else 'k'}")
    assert "the spine has 2 columns called 'k'" in refused(twice, view_of(view_rows(spark, "1 AS value"), "value"))


@pytest.mark.parametrize("name", ["value", "VALUE", "k", "K", "event_timestamp", "Sequence", "available_timestamp"])
def test_two_columns_of_one_name_in_a_view_are_refused_where_one_is_needed(spark: SparkSession, name: str) -> None:
    frame = view_rows(spark, "1 AS value").selectExpr("*", f"NULL AS {name}")
    assert "view v has 2 columns called " in refused(spine_at(spark, 4), view_of(frame, "value"))


def test_two_columns_of_one_name_do_not_matter_where_none_is_needed(spark: SparkSession) -> None:
    frame = view_rows(spark, "1 AS value").selectExpr("*", "1 AS other", "2 AS OTHER", "3 AS other")
    assert as_of_join(spine_at(spark, 4), [view_of(frame, "value")]).collect()[0]["value"] == 1


def test_a_column_in_another_case_is_named(spark: SparkSession) -> None:
    frame = view_rows(spark, "1 AS value")
    text = refused(spine_at(spark, 4), view_of(frame, "VALUE"), view_of(frame.withColumnRenamed("k", "K"), "i"))
    assert "view v lacks the column 'VALUE'. Hint: rename 'value' to 'VALUE'" in text
    assert "view v lacks the key 'k'. Hint: rename 'K' to 'k'" in text
    assert "did you mean 'value'" in refused(spine_at(spark, 4), view_of(frame, "values"))


def test_a_session_that_knows_case_tells_names_apart(spark: SparkSession) -> None:
    with settings(spark, {"spark.sql.caseSensitive": "true"}):
        frame = view_rows(spark, "1 AS value").selectExpr("*", "2 AS VALUE")
        spine = spine_at(spark, 4).selectExpr("*", "3 AS Value", "4 AS vALUE")
        joined = as_of_join(spine, [view_of(frame, "value", "VALUE"), view_of(frame, name="w", columns={"__AT": "i"})])
        assert joined.columns == ["k", "event_timestamp", "Value", "vALUE", "value", "VALUE", "__AT"]
        assert [tuple(row)[2:] for row in joined.collect()] == [(3, 4, 1, 2, 3)]


def test_keys_named_twice_or_as_one_text_and_empty_names_are_refused(spark: SparkSession) -> None:
    frame = view_rows(spark, "1 AS value")
    assert "view v names a key twice: k, k. Hint: " in refused(spine_at(spark, 4), view_of(frame, "i", keys=("k", "k")))
    assert "keys are one text, 'k'. Hint: write ('k',)" in refused(spine_at(spark, 4), view_of(frame, "i", keys="k"))
    assert "under an empty name" in refused(spine_at(spark, 4), view_of(frame, columns={"": "i"}))


def test_the_check_knows_the_types_of_what_is_joined(spark: SparkSession) -> None:
    frame = view_rows(spark, "map('a', 1) AS value")
    view = view_of(frame, "value", "i", event_as="v_at", age_as="v_age_s", prefix="v_")
    types = check_join(spine_at(spark, 4), [view], "event_timestamp", ())
    joined = as_of_join(spine_at(spark, 4), [view])
    assert types == {field.name: field.dataType for field in joined.schema.fields[2:]}
    assert (types["v_i"], types["v_at"], types["v_age_s"]) == (LongType(), TimestampType(), DoubleType())


@pytest.mark.parametrize("count", [9, 24])
def test_a_view_more_is_no_column_more_in_every_branch(
    spark: SparkSession, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    """Many views of one shape share a column: the plan of n views holds n branches, not n times n columns."""
    frame = view_rows(spark, "1.5D AS value")
    views = [view_of(frame, name=f"v{k}", columns={f"v{k}": "value"}) for k in range(count)]
    joined = as_of_join(spine_at(spark, 4), views)
    with settings(spark, {"spark.sql.debug.maxToStringFields": "1000"}):
        capsys.readouterr()
        joined.explain(mode="extended")
        optimized = capsys.readouterr().out.split("== Optimized Logical Plan ==")[1].split("== Physical Plan ==")[0]
    assert optimized.count("null AS ") <= 2 * count + 2
    assert [row[f"v{count - 1}"] for row in joined.collect()] == [1.5]
