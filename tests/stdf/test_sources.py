"""Paths, globs, folders and URIs to files and their bytes; no error text shows a password."""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fsspec
import pyarrow as pa
import pyarrow.fs
import pytest

from fs_spark.errors import RequestError, StdfError
from fs_spark.stdf.container import read_delivered
from fs_spark.stdf.sources import find_files, read_bytes, without_credentials
from tests.stdf.files import two_by_three

TREE = {
    "a.stdf": b"1",
    "B.STD.GZ": b"2",
    "notes.txt": b"3",
    "lot 1/c.std.zst": b"4",
    "lot 1/deep/d.stdf.zip": b"5",
    "lot 1/deep/e.stdf.Z": b"6",
    "lot 1/deep/ö#%41[1].stdf.xz": b"7",
    "lot 2/.hidden.stdf": b"8",
    "lot 2/f.stdf.bz2": b"9",
    "lot 2/g.stdf.lzma": b"10",
}
STDF = sorted(set(TREE) - {"notes.txt", "lot 1/deep/e.stdf.Z"})
GLOBS = {
    "*.stdf": ["a.stdf"],
    "*": ["B.STD.GZ", "a.stdf", "notes.txt"],
    "lot [2-9]/*": ["lot 2/f.stdf.bz2", "lot 2/g.stdf.lzma"],
    "lot 2/.*": ["lot 2/.hidden.stdf"],
    "*/*.zst": ["lot 1/c.std.zst"],
    "**/*.zip": ["lot 1/deep/d.stdf.zip"],
    "**/[ad].*": ["a.stdf", "lot 1/deep/d.stdf.zip"],
    "lot 1/**": ["lot 1/c.std.zst", "lot 1/deep/d.stdf.zip", "lot 1/deep/e.stdf.Z", "lot 1/deep/ö#%41[1].stdf.xz"],
}
every_glob = pytest.mark.parametrize("pattern", GLOBS)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, data in TREE.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "tree" / "folder.stdf").mkdir()
    return tmp_path / "tree"


@pytest.fixture
def memory() -> Iterator[str]:
    """The same files in fsspec's file system of this process."""
    files = fsspec.filesystem("memory")
    for name, data in TREE.items():
        files.pipe_file(f"/share/{name}", data)
    yield "memory://share"
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.fixture
def bucket(tree: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same files as s3://bucket: Arrow's reading of S3 URIs, on local files."""
    real, local = pa.fs.FileSystem, pa.fs.SubTreeFileSystem(str(tree.parent), pa.fs.LocalFileSystem())

    class Arrow:
        @staticmethod
        def from_uri(uri: str) -> tuple[Any, str]:
            if uri.startswith("s3://"):
                assert uri.isascii()
                return local, real.from_uri(uri if "?" in uri else uri + "?region=us-east-1")[1]
            return real.from_uri(uri)  # type: ignore[no-any-return]

    monkeypatch.setattr(pa.fs, "FileSystem", Arrow)
    return "s3://tree"


def under(base: str, found: list[str]) -> list[str]:
    assert all(name.startswith(base + "/") for name in found)
    return [name[len(base) + 1 :] for name in found]


def check_folder(base: str) -> None:
    """All ways of naming a folder's files give what can be read."""
    for folder in (base, base + "/"):
        found = find_files([folder])
        assert found == sorted(found)
        assert [read_bytes(name) for name in found] == [TREE[name] for name in STDF]
        assert [read_delivered(name).data for name in found] == [TREE[name] for name in STDF]
    assert find_files(found) == found
    assert find_files([base, found[3], base + "/lot 1", base + "/*.stdf"]) == found


def test_a_local_folder(tree: Path) -> None:
    check_folder(str(tree))
    assert under(str(tree), find_files([tree])) == STDF


def test_a_folder_of_fsspec(memory: str) -> None:
    check_folder(memory)
    assert under(memory, find_files([memory])) == STDF


def test_a_folder_of_arrow(bucket: str) -> None:
    check_folder(bucket)
    assert [name.replace("%25", "%") for name in under(bucket, find_files([bucket]))] == STDF
    assert read_bytes(f"{bucket}/lot%201/c.std.zst") == TREE["lot 1/c.std.zst"]
    assert read_bytes(f"{bucket}/lot 1/c.std.zst") == TREE["lot 1/c.std.zst"]


@every_glob
def test_globs(pattern: str, tree: Path, memory: str, bucket: str) -> None:
    assert under(str(tree), find_files([f"{tree}/{pattern}"])) == GLOBS[pattern]
    assert under(memory, find_files([f"{memory}/{pattern}"])) == GLOBS[pattern]
    names = under(bucket, find_files([f"{bucket}/{pattern}"]))
    assert [name.replace("%25", "%") for name in names] == GLOBS[pattern]


def test_globs_at_the_root(memory: str) -> None:
    assert [read_bytes(name) for name in find_files(["memory://*/*.stdf"])] == [b"1"]
    assert len(find_files(["memory://"])) == len(STDF)


def test_the_query_of_a_uri_stays_with_its_files(bucket: str) -> None:
    query = "?region=eu-west-1&scheme=https"
    for source in ("/lot 2", "/lot 2/[f-g]*", "/*/[f-g]*"):
        found = find_files([bucket + source + query])
        assert [name for name in found if "hidden" not in name] == [
            f"{bucket}/lot 2/f.stdf.bz2{query}",
            f"{bucket}/lot 2/g.stdf.lzma{query}",
        ]
        assert read_bytes(found[-1]) == b"10"


def test_a_question_mark_in_a_name(memory: str, tree: Path, bucket: str) -> None:
    (tree / "lot 2" / "h?.stdf").write_bytes(b"11")
    assert find_files([f"{bucket}/lot 2"])[-1] == f"{bucket}/lot 2/h%3F.stdf"
    assert read_bytes(f"{bucket}/lot 2/h%3F.stdf") == b"11"
    assert find_files([f"{tree}/lot 2/?.stdf.*"]) == [f"{tree}/lot 2/f.stdf.bz2", f"{tree}/lot 2/g.stdf.lzma"]


@pytest.mark.parametrize("start", ["file://", "file:", "file://localhost", "FILE://"])
def test_file_uris_are_local_paths(start: str, tree: Path) -> None:
    base = start + quote(str(tree))
    assert find_files([base, tree]) == [str(tree / name) for name in STDF]
    assert find_files([f"{base}/lot%202/*.bz2"]) == [f"{tree}/lot 2/f.stdf.bz2"]
    assert find_files([f"{base}/?.stdf"]) == [f"{tree}/a.stdf"]
    assert read_bytes(f"{base}/lot%202/f.stdf.bz2") == b"9"


def test_relative_paths_become_absolute(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert find_files(["a.stdf", "./lot 2/../a.stdf", tree / "a.stdf"]) == [str(tree / "a.stdf")]
    assert under(str(tree), find_files([Path(".")])) == STDF


def test_a_name_with_wildcards_is_found_by_its_name(tree: Path, memory: str, bucket: str) -> None:
    for base in (str(tree), memory):
        assert read_bytes(find_files([f"{base}/lot 1/deep/ö#%41[1].stdf.xz"])[0]) == b"7"
    assert read_bytes(find_files([f"{bucket}/lot 1/deep/ö#%2541[1].stdf.xz"])[0]) == b"7"


def test_every_source_that_names_nothing_is_listed(tree: Path, memory: str) -> None:
    (tree / "empty").mkdir()
    (tree / "empty" / "notes.txt").write_bytes(b"")
    fsspec.filesystem("memory").pipe_file("/other/notes.txt", b"")
    nothing: list[str | Path] = [
        tree / "none.stdf",
        tree / "*.none",
        tree / "empty",
        f"{memory}/none",
        f"{memory}/*.none",
    ]
    with pytest.raises(RequestError) as fault:
        find_files([tree, *nothing, "memory://other", "file://host/x.stdf"])
    lines = str(fault.value).splitlines()
    suffixes = "named .stdf or .std (or these with .gz, .bz2, .xz, .lzma, .zst, .zip)"
    assert lines == [
        "nothing was read:",
        *(f"- {source}: no such file or folder" for source in nothing[:2]),
        f"- {nothing[2]}: the folder holds no file {suffixes}",
        *(f"- {source}: no such file or folder" for source in nothing[3:]),
        f"- memory://other: the folder holds no file {suffixes}",
        "- file://host/x.stdf: no such file or folder",
        "Hint: check the paths",
    ]
    with pytest.raises(RequestError, match=r"no file to read\. Hint: name files"):
        find_files([])


def test_a_scheme_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match=r"nope://a/b: neither Arrow nor fsspec knows nope://\. Hint"):
        find_files(["nope://a/b"])
    with pytest.raises(StdfError, match=r"nope://a/b: neither"):
        read_delivered("nope://a/b")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(RequestError, match=r"Arrow does not know memory://\. Hint: `pip install fsspec` and"):
        find_files(["memory://a/b"])
    with pytest.raises(StdfError, match="pip install fsspec"):
        read_bytes("memory://a/b")


def test_files_that_cannot_be_read(memory: str) -> None:
    for name in ("/none.stdf", "/lot 1"):
        with pytest.raises(StdfError, match=f"memory://share{name} cannot be read"):
            read_bytes(memory + name)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://KEY:S3CRET@bucket/a.stdf?region=eu-west-1",
        "s3://KEY:S3C/RET@bucket/a.stdf?region=eu-west-1",
        "s3://KEY:S3C RET/x y@bucket/a.stdf",
        "s3://KEY:S3C@RET@bucket/a[1].stdf?region=eu-west-1",
        "s3://bucket/a b.stdf?region=eu-west-1&secret_key=S3CRET",
        "gs://KEY@bucket/a.stdf?no_such_option=S3CRET",
        "nope://KEY:S3C?RET@host:22/a b/c@d.stdf",
        "failing://KEY:S3CRET@host/a.stdf?sig=S3CRET",
        "failing://KEY:S3CRET@host/*.stdf",
    ],
)
def test_no_error_shows_a_password(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = pa.fs.FileSystem

    class Arrow:
        @staticmethod
        def from_uri(quoted: str) -> tuple[Any, str]:
            real.from_uri(quoted)  # what it says of URIs it cannot parse or does not know
            raise OSError(f"403 for {quoted}, tried '{quoted}'")

    class Failing(fsspec.AbstractFileSystem):  # type: ignore[misc]
        def info(self, path: str, **options: Any) -> dict[str, Any]:
            raise KeyError(f"403 for {uri} (failing://KEY:S3CRET@host, HTTPS://host/a?sig=S3CRET)")

        _open = info

    monkeypatch.setattr(pa.fs, "FileSystem", Arrow)
    fsspec.register_implementation("failing", Failing, clobber=True)
    with pytest.raises(RequestError) as not_found:
        find_files([uri, "none.stdf"])
    with pytest.raises(StdfError) as not_read:
        read_bytes(uri)
    for fault in (not_found, not_read):
        shown = "".join(traceback.format_exception(fault.value))
        assert without_credentials(uri) in shown
        assert not any(secret in str(fault.value) for secret in ("KEY", "S3C", "RET"))
        assert fault.value.__cause__ is None
        assert fault.value.__context__ is None or fault.value.__suppress_context__


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("/lots/a@b:c?d.stdf", "/lots/a@b:c?d.stdf"),
        ("s3://bucket/lot/a.stdf", "s3://bucket/lot/a.stdf"),
        ("s3://bucket/lot/a@b.stdf", "s3://bucket/lot/a@b.stdf"),
        ("hdfs://name:8020/lot/a@b.stdf", "hdfs://name:8020/lot/a@b.stdf"),
        ("sftp://user:word@host:22/lot/a.stdf?key=1", "sftp://host:22/lot/a.stdf"),
        ("https://token@host/a.stdf", "https://host/a.stdf"),
        ("abfss://lots@account.dfs.core.windows.net/a.stdf", "abfss://lots@account.dfs.core.windows.net/a.stdf"),
        ("abfs://account:key@account.dfs.core.windows.net/a.stdf", "abfs://account.dfs.core.windows.net/a.stdf"),
    ],
)
def test_what_is_shown_of_a_source(source: str, shown: str) -> None:
    assert without_credentials(source) == shown


def test_importing_starts_neither_spark_nor_a_remote_file_system() -> None:
    code = """import sys, fs_spark.stdf.container
print([name for name in ("pyspark", "fsspec", "pyarrow.fs") if name in sys.modules])"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


def test_links_out_of_a_delivered_folder_are_not_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "in"
    (outside / "deep").mkdir(parents=True)
    (folder / "own").mkdir(parents=True)
    for path in (outside / "secret.stdf", outside / "deep" / "other.stdf", folder / "own" / "a.stdf"):
        path.write_bytes(two_by_three())
    (folder / "link.stdf").symlink_to(outside / "secret.stdf")
    (folder / "deep").symlink_to(outside / "deep")
    (folder / "same.stdf").symlink_to(folder / "own" / "a.stdf")
    own = [str(folder / "own" / "a.stdf"), str(folder / "same.stdf")]
    assert find_files([folder]) == own
    assert "link.stdf" in caplog.text
    assert "follow_links: true" in caplog.text
    assert find_files([folder / "**" / "*.stdf"]) == own
    assert find_files([folder / "*.stdf"]) == own[1:]
    followed = sorted([*own, str(folder / "link.stdf"), str(folder / "deep" / "other.stdf")])
    assert find_files([folder], follow_links=True) == followed
    assert find_files([folder / "link.stdf"]) == [str(folder / "link.stdf")]  # named itself
    with pytest.raises(RequestError, match="no such file or folder"):
        find_files([folder / "deep" / "*.map"])
