"""Who lowered a table's promise for a VACUUM, and whether that process still runs."""

from __future__ import annotations

import os
import socket
import time

from fs_spark.promises import RETENTION, VACUUMED_BY, Promise, is_running, own_mark


def test_a_mark_tells_a_running_process_from_one_that_ended() -> None:
    machine, now = socket.gethostname(), time.time()
    assert is_running(own_mark())
    assert not is_running(f"{machine}/999999999/{now:.0f}")
    assert is_running(f"another-machine/1/{now:.0f}")
    assert not is_running(f"another-machine/1/{now - 7 * 3600:.0f}")
    assert not is_running(f"{machine}/{os.getpid()}/{now - 7 * 3600:.0f}")  # the number went to another process


def test_a_promise_is_what_the_properties_say_or_deltas_defaults() -> None:
    assert (Promise.of(None).files, Promise.of(None).log) == ("interval 7 days", "interval 30 days")
    kept = Promise.of({**dict.fromkeys(RETENTION, "interval 90 days"), VACUUMED_BY: "m/1/2"})
    assert kept.broken("interval 90 days") is None
    assert kept.broken("interval 91 days") == (RETENTION[0], "interval 90 days")
    assert kept.vacuumed_by == "m/1/2"
    assert Promise.of({RETENTION[0]: "interval 90 days"}).broken("interval 90 days") == (RETENTION[1], "not set")
