"""Attempts that views of a run share: only where each reader was bound to the same tests, or to none."""

from __future__ import annotations

from typing import Any

import pytest

from fs_spark.features.table_view import SourceInput
from fs_spark.ingested_sources import INGESTED_SOURCES
from fs_spark.transforms.spatial import ProductBinding
from fs_spark.transforms.units import MeasuredTest


def reader(*parameters: str, others: bool = False) -> SourceInput:
    options: dict[str, Any] = {"insertion": "1", "attempts": "latest", "parameters": list(parameters)}
    columns: dict[str, Any] = {"passed": "boolean", **dict.fromkeys(parameters, "double")}
    return SourceInput(
        name="attempts", keys={"lot_id": "string"}, columns=columns, knowledge="at_event",
        options={**options, **({"others": True} if others else {})}, by={"lot_id": "lot_id"},
    )  # fmt: skip


def bound(**tests: int) -> dict[str, ProductBinding]:
    return {"chip": ProductBinding(parameters={name: MeasuredTest(number, name) for name, number in tests.items()})}


def test_the_widest_has_what_each_reads() -> None:
    widest = INGESTED_SOURCES["attempts"].widest
    assert widest is not None
    found = widest([reader("vdd"), reader("idd", others=True), reader()], [bound(vdd=1), bound(idd=2), {}])
    assert found is not None
    one, bindings = found
    assert one.options["parameters"] == ["vdd", "idd"]
    assert one.options["others"] is True
    assert bindings == bound(vdd=1, idd=2)


@pytest.mark.parametrize(
    ("readers", "bindings"),
    [
        ([reader("vdd"), reader("vdd")], [bound(vdd=1), bound(vdd=2)]),
        ([reader("vdd", "idd"), reader("idd")], [bound(vdd=1), bound(idd=2)]),  # bound before the product had idd
        ([reader("idd"), reader("idd")], [{}, bound(idd=2)]),  # not bound to the product at all
    ],
    ids=["another test", "none", "no product"],
)
def test_a_reader_never_gets_the_tests_of_another(readers: list[SourceInput], bindings: list[Any]) -> None:
    widest = INGESTED_SOURCES["attempts"].widest
    assert widest is not None
    assert widest(readers, bindings) is None
