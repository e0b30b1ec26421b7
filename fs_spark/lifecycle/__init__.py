"""The life of a view: what a plan would change, who uses a version, what two versions differ in, where values come
from."""

from fs_spark.lifecycle.plans import Plan, make_plan
from fs_spark.lifecycle.views import RegisteredViews

__all__ = ["Plan", "RegisteredViews", "make_plan"]
