"""Passwords and keys: in no text, repr, traceback, report or log line; an online file for its owner alone."""

from __future__ import annotations

import logging
import os
import stat
import traceback
from pathlib import Path

import pytest

from fs_spark import FeatureStore, errors
from fs_spark.cli import main
from fs_spark.config import load_configuration
from fs_spark.errors import ConfigError, FsSparkError, RequestError, without_secrets
from fs_spark.online import open_online
from fs_spark.online.export import ExportReport, export_service
from fs_spark.online.sqlite import SqliteOnline

URLS = [
    "redis://:hunter2@host:6379/0",
    "redis://me:hunter2@host",
    "rediss://me:hun/ter2@host:1/0",
    "redis://me:hunter2@home@host/0",
    "s3a://AKIA:hunter2@bucket/store",
    "https://host/x?sv=1&sig=hunter2&se=2",
    "abfss://c@host/x?access_key=hunter2",
    "postgresql+psycopg://u:hunter2@h/d",
]


def shown(fault: BaseException) -> str:
    return str(fault) + repr(fault) + "".join(traceback.format_exception(fault))


@pytest.mark.parametrize("url", URLS)
def test_no_error_of_ours_shows_a_secret(url: str) -> None:
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, FsSparkError)]
    assert len(kinds) > 10
    for kind in kinds:
        text = shown(kind(f"the store at {url!r} is not there, nor `{url}`.\nHint: look at {url}"))
        assert "hunter2" not in text
        assert "ter2@" not in text
        assert "Hint: look at" in text


@pytest.mark.parametrize(
    "text",
    ["s3://bucket/a/b", "sqlite:////a/b.db", "me@host",
     "fs-spark ingest in/*.stdf", "key=value", "hdfs://host:8020/x?y=1", "ALTER TABLE delta.`s3://bucket/x`"],
)  # fmt: skip
def test_texts_without_secrets_stay_as_they_are(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize("url", URLS)
def test_an_online_url_is_shown_without_its_password(url: str) -> None:
    with pytest.raises(FsSparkError) as fault:
        open_online(url)
    assert "hunter2" not in shown(fault.value)
    assert "ter2@" not in shown(fault.value)
    assert "hunter2" not in without_secrets(repr(ExportReport("s", without_secrets(url), {}, {}, current=True)))


def conf_of(folder: Path, text: str) -> Path:
    (folder / "store.yaml").write_text(text)
    return folder / "store.yaml"


SECRETS = """
root: s3a://AKIA:hunter2@bucket/store
online: redis://me:hunter2@host/0
spark:
  settings:
    spark.hadoop.fs.s3a.secret.key: hunter2
    spark.hadoop.fs.azure.account.key.x: hunter2
    spark.some.url: https://me:hunter2@proxy
    spark.executor.memory: 2g
"""


def test_a_configuration_shows_no_secret(tmp_path: Path) -> None:
    found = load_configuration(conf_of(tmp_path, SECRETS))
    text = repr(found) + str(found) + repr(found.store) + str(found.store.spark) + f"{found.store!r}"
    assert "hunter2" not in text
    assert "2g" in text
    assert found.online_url == "redis://me:hunter2@host/0"  # what opens it has it
    assert "hunter2" not in found.ingest_text()
    assert "hunter2" not in repr(FeatureStore(found)) + repr(vars(FeatureStore(found)))


@pytest.mark.parametrize(
    "text",
    [
        SECRETS + "horizn: 1\n",
        "root: x\nonline: [redis://me:hunter2@host/0]\n",
        "root: x\nspark: redis://me:hunter2@host/0\n",
        "root: x\nspark: {settings: {spark.hadoop.fs.s3a.secret.key: [hunter2]}}\n",
        "root: x\nonline: redis://me:hunter2@host/0\n  bad: indentation\n",
        "root: x\nonline: redis://me:hunter2@host/0: {\n",
        "root: x\nspark: {settings: {spark.hadoop.fs.s3a.secret.key: hunter2: [}}\n",
    ],
)
def test_faults_of_a_configuration_show_no_secret(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as fault:
        load_configuration(conf_of(tmp_path, text))
    assert "hunter2" not in shown(fault.value)


def test_the_command_line_shows_no_secret(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    conf = conf_of(tmp_path, "root: x\nonline: redis://me:hunter2@host/0\n")
    root = logging.getLogger()
    held, root.handlers = root.handlers, []
    try:
        assert main(["get", "s", "{}", "--conf", str(conf)]) == 2
        logging.getLogger("fs_spark").warning("reading %s", "redis://me:hunter2@host/0")
        try:
            raise ValueError("of a library: redis://me:hunter2@host/0")
        except ValueError:
            logging.getLogger("fs_spark").exception("it failed")
    finally:
        root.handlers = held
    out, err = capfd.readouterr()
    assert "hunter2" not in out + err
    assert "reading redis://***@host/0" in err
    assert "it failed" in err


@pytest.mark.parametrize(("text", "mode"), [("", 0o600), ("online_mode: '0640'", 0o640), ("online_mode: 0660", 0o660)])
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000])
def test_an_online_file_is_made_for_whom_the_configuration_says(
    tmp_path: Path, text: str, mode: int, mask: int
) -> None:
    """Whatever the process's umask, also its files beside it."""
    conf = load_configuration(conf_of(tmp_path, f"root: x\n{text}\n"))
    assert conf.store.online_mode == mode
    before = os.umask(mask)
    try:
        writer = SqliteOnline(tmp_path / "online.sqlite", mode=conf.store.online_mode)
        writer._create()
        writer._create()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "online.sqlite").stat().st_mode) == mode


def test_the_mode_of_a_file_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "online.sqlite").touch(0o644)
    (tmp_path / "online.sqlite").chmod(0o644)
    SqliteOnline(tmp_path / "online.sqlite")._create()
    assert stat.S_IMODE((tmp_path / "online.sqlite").stat().st_mode) == 0o644


@pytest.mark.parametrize("mode", ["'0644x'", "'777'", "640", "'0701'", "[6]"])
def test_a_mode_that_cannot_be_is_refused(tmp_path: Path, mode: str) -> None:
    with pytest.raises(ConfigError, match=r"online_mode: .*Hint: write '0600'"):
        load_configuration(conf_of(tmp_path, f"root: x\nonline_mode: {mode}\n"))


def test_a_file_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((RequestError, NotADirectoryError, FileExistsError)):
        SqliteOnline(tmp_path / "file" / "online.sqlite")._create()
    assert export_service.__kwdefaults__ == {"mode": 0o600, "at": None, "full": False}
