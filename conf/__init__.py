"""The starter configuration: shipped as `fs_spark.starter`, copied by `fs-spark init`."""
