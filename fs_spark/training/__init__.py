"""Training sets: the point-in-time join of a spine with views at pinned versions, saved with a manifest.

The manifest names all that the rows came from, so that they can be rebuilt and compared bit for bit later.
"""

from fs_spark.training.build import build_training_set
from fs_spark.training.chosen import Chosen, ChosenView, Prefix, choose_views
from fs_spark.training.compare import TrainingSetDiff, describe, diff_manifests
from fs_spark.training.reproduce import reproduce_training_set
from fs_spark.training.rules import PinnedTable, TrainingRules
from fs_spark.training.saved import TrainingSet, TrainingSets
from fs_spark.training.spine_frames import spine_frame

__all__ = [
    "Chosen",
    "ChosenView",
    "PinnedTable",
    "Prefix",
    "TrainingRules",
    "TrainingSet",
    "TrainingSetDiff",
    "TrainingSets",
    "build_training_set",
    "choose_views",
    "describe",
    "diff_manifests",
    "reproduce_training_set",
    "spine_frame",
]
