"""A developer's tool, no tests: pytest collects, and so imports, nothing here."""

collect_ignore_glob = ["*.py"]
