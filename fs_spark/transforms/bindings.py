"""What a view version uses of a product, and its text in the registry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from fs_spark.transforms.units import MeasuredTest, ProductBinding
from fs_spark.wafer import WaferGeometry

__all__ = ["MeasuredTest", "ProductBinding", "binding_body", "read_binding"]


def binding_body(binding: ProductBinding, resolved_from: Mapping[str, int]) -> str:
    """As the registry holds it; `resolved_from` are the versions of the tables that its map was found in."""
    tests = {
        name: {key: value for key, value in asdict(test).items() if key != "unit" or value}  # older texts have none
        for name, test in sorted(binding.parameters.items())
    }
    geometry = json.loads(binding.geometry.to_json())
    return json.dumps({"geometry": geometry, "parameters": tests, "resolved_from": dict(resolved_from)}, sort_keys=True)


def read_binding(body: str) -> ProductBinding:
    """What `binding_body` wrote."""
    parsed = json.loads(body)
    return ProductBinding(
        geometry=WaferGeometry.from_json(json.dumps(parsed["geometry"])),
        parameters={name: MeasuredTest(**test) for name, test in parsed["parameters"].items()},
    )
