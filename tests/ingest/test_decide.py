"""What becomes of a delivery's files, on plain rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pyspark.sql import Row

from fs_spark.ingest.decide import UNANCHORED, StoredFile, decide
from fs_spark.names import CONFLICTING_RUN, DUPLICATE, INGESTED, SUPERSEDED, TRUNCATED, UNREADABLE


def read(
    source: int, file_id: str, *runs: str, status: str = INGESTED, extends: Sequence[str] = (), **more: Any
) -> Any:
    given = {"settings": "s", "lot_id": "L", **more}
    picture = given.pop("picture", None)
    file = Row(
        file_id=file_id, path=f"{file_id}.stdf", status=status, reason=None, decompressed_bytes=9,
        run_keys=json.dumps(runs), batch_id=None, parts=1,
        dropped=json.dumps({UNANCHORED: picture} if picture else {}), **given,
    )  # fmt: skip
    return Row(source=source, file=file, extends=list(extends))


def stored(file_id: str, *runs: str, status: str = INGESTED, reason: str | None = None) -> dict[str, StoredFile]:
    return {file_id: StoredFile(file_id, f"{file_id}.stdf", status, reason, "s", 9, runs)}


def outcome(rows: Sequence[Any], known: dict[str, StoredFile]) -> tuple[list[str], dict[str, str]]:
    decisions, superseded = decide(rows, known)
    return [decision.status for decision in decisions], superseded


def test_new_files_and_the_same_bytes_twice() -> None:
    rows = [read(0, "a", "r1"), read(1, "b", "r2"), read(2, "a", "r1")]
    assert outcome(rows, {}) == ([INGESTED, INGESTED, DUPLICATE], {})


def test_a_known_run_with_other_content_is_set_aside() -> None:
    assert outcome([read(0, "b", "r1")], stored("a", "r1")) == ([CONFLICTING_RUN], {})
    assert outcome([read(0, "b", "r1")], stored("a", "r1", status=UNREADABLE)) == ([INGESTED], {})


def test_a_longer_or_whole_file_supersedes() -> None:
    assert outcome([read(0, "b", "r1", extends=["a"])], stored("a", "r1")) == ([INGESTED], {"a": "b"})
    assert outcome([read(0, "b", "r1")], stored("a", "r1", status=TRUNCATED)) == ([INGESTED], {"a": "b"})
    assert outcome([read(0, "b", "r1", status=TRUNCATED)], stored("a", "r1", status=TRUNCATED)) == (
        [CONFLICTING_RUN],
        {},
    )


def test_one_conflict_of_several_runs_supersedes_nothing() -> None:
    known = stored("a", "r1", status=TRUNCATED) | stored("c", "r2")
    assert outcome([read(0, "b", "r1", "r2")], known) == ([CONFLICTING_RUN], {})


def test_in_one_delivery_the_whole_file_goes_before_the_cut_one() -> None:
    rows = [read(0, "cut", "r1", status=TRUNCATED), read(1, "whole", "r1")]
    assert outcome(rows, {}) == ([CONFLICTING_RUN, INGESTED], {})


def test_a_file_read_again_does_not_conflict_with_itself() -> None:
    with_other_settings = {"a": replace(stored("a", "r1")["a"], settings="older")}
    decisions, _ = decide([read(0, "a", "other lot")], with_other_settings, again=True)
    assert [decision.status for decision in decisions] == [INGESTED]
    assert outcome([read(0, "a", "r1")], stored("a", "r1", status=SUPERSEDED)) == ([DUPLICATE], {})


def test_a_file_that_another_job_stored_since_it_was_read_is_a_duplicate() -> None:
    same, older = stored("a", "r1"), {"a": replace(stored("a", "r1")["a"], settings="older")}
    for known, again, status in ((same, False, DUPLICATE), (same, True, DUPLICATE), (older, False, DUPLICATE)):
        (decision,), _ = decide([read(0, "a", "r1")], known, again=again)
        assert decision.status == status
        assert decision.reason == "these bytes were ingested before"
    # and another file of its run sees it
    decisions, _ = decide([read(0, "a", "r1"), read(1, "b", "r1")], same)
    assert [decision.status for decision in decisions] == [DUPLICATE, CONFLICTING_RUN]
    (decision,), _ = decide([read(0, "a", "r1")], same, again=True, anew=["a"])  # its rows are broken
    assert decision.status == INGESTED


def test_a_file_that_is_set_aside_again_for_the_same_reason_is_unchanged() -> None:
    known = stored("a", status=UNREADABLE)
    (decision,), _ = decide([read(0, "a", status=UNREADABLE)], known)
    assert decision.unchanged
    (decision,), _ = decide([read(0, "a", status=UNREADABLE)], stored("a", status=UNREADABLE, reason="other"))
    assert not decision.unchanged


def test_pictures_of_several_sizes_in_a_lot_are_set_aside() -> None:
    rows = [
        read(0, "a", "r1", picture=(5, 3)), read(1, "b", "r2", picture=(4, 3)), read(2, "c", "r3"),
        read(3, "d", "r4", picture=(9, 9), lot_id="M"), read(4, "e", "r5", picture=(4, 4), settings="another entry"),
    ]  # fmt: skip
    decisions, _ = decide(rows, {})
    assert [d.status for d in decisions] == [UNREADABLE, UNREADABLE, INGESTED, INGESTED, INGESTED]
    assert decisions[0].reason == (
        "its picture has 5 columns and 3 rows, others of lot L have 4 x 3: where the dies lie on the wafer cannot be "
        "told. Hint: deliver maps with all their margins, or give `columns` and `rows` of the product's map in "
        "inputs.yaml"
    )
    known = {"z": replace(stored("z", "r9")["z"], lot_id="L", unanchored_picture=(5, 3))}
    assert outcome(rows[:2], known)[0] == [INGESTED, UNREADABLE]
    itself = {"b": replace(known["z"], file_id="b", settings="older")}
    assert [d.status for d in decide(rows[1:2], itself, again=True)[0]] == [INGESTED]
