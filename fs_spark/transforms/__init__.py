"""DataFrame to DataFrame: no reading, no writing, no action."""

from fs_spark.transforms.as_of import AsOfView, as_of_join
from fs_spark.transforms.attempts import with_attempts

__all__ = ["AsOfView", "as_of_join", "with_attempts"]
