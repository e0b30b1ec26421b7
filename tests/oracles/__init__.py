"""Naive oracles: plain loops written from the semantics alone. Nothing here imports `fs_spark`."""
