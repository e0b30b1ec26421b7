"""A static site about a store's features: what they mean, where they come from, what their values look like."""

from fs_spark.docs.site import DocsReport, write_docs

__all__ = ["DocsReport", "write_docs"]
