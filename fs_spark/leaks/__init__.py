"""Leak checks of training sets: what knows its row's future, and what tells the label."""

from fs_spark.leaks.checks import check
from fs_spark.leaks.report import FeatureFigures, Leak, LeakReport, NotRun, Ran
from fs_spark.leaks.rules import LeakLimits, ViewTimes

__all__ = ["FeatureFigures", "Leak", "LeakLimits", "LeakReport", "NotRun", "Ran", "ViewTimes", "check"]
