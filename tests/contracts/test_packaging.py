"""What the wheel contains."""

from __future__ import annotations

import configparser
from importlib import resources

from tests.conftest import ROOT


def test_every_package_is_shipped() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = set(config["options"]["packages"].split())
    on_disk = {".".join(file.parent.relative_to(ROOT).parts) for file in (ROOT / "fs_spark").rglob("__init__.py")}
    assert listed == on_disk | {"fs_spark.starter"}


def test_the_starter_configuration_is_conf() -> None:
    starter = resources.files("fs_spark.starter")
    names = sorted(str(file.relative_to(ROOT / "conf")) for file in (ROOT / "conf").rglob("*.yaml"))
    assert "store.yaml" in names
    for name in names:
        assert starter.joinpath(*name.split("/")).read_bytes() == (ROOT / "conf" / name).read_bytes()
