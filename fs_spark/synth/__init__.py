"""Synthetic lots for tests and demonstrations, written as real STDF files with the truth beside them."""

from fs_spark.synth.lots import LotTruth, generate_lot
from fs_spark.synth.spec import LotSpec

__all__ = ["LotSpec", "LotTruth", "generate_lot"]
