"""Generated lots: the same bytes again, real touchdowns, and a truth that an independent scan of the files confirms."""

from __future__ import annotations

import bz2
import gzip
import itertools
import struct
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest

from fs_spark.errors import RequestError
from fs_spark.synth import LotSpec, LotTruth, generate_lot
from fs_spark.synth.probing import wafer_dies
from fs_spark.synth.process import LotProcess, draw_wafer

SMALL = LotSpec(wafers=3, die_width_mm=11.0, die_height_mm=9.0)
TESTS = {1001: "vdd", 1002: "idd", 1003: "freq", 1004: "temp"}
EPOCH = datetime(1970, 1, 1)


@pytest.fixture(scope="module")
def lot(tmp_path_factory: pytest.TempPathFactory) -> LotTruth:
    return generate_lot(SMALL, tmp_path_factory.mktemp("lot"))


class Scan(NamedTuple):
    """What a file says, by offsets alone."""

    parts: list[dict[str, Any]]
    touchdowns: list[list[int]]
    lot_id: str
    wafer_id: str
    insertion: str
    start: int
    finish: int
    counts: Counter[tuple[int, int]]
    bodies: dict[tuple[int, int], list[bytes]]


def scan(content: bytes) -> Scan:
    """Read what the tests need, without the layouts of the writer."""
    order = {1: ">", 2: "<"}[content[4]]
    open_parts: dict[int, dict[str, Any]] = {}
    parts: list[dict[str, Any]] = []
    touchdowns: list[list[int]] = []
    bodies: dict[tuple[int, int], list[bytes]] = defaultdict(list)
    at = 0
    while at < len(content):
        length, typ, sub = struct.unpack_from(order + "HBB", content, at)
        body = content[at + 4 : at + 4 + length]
        at += 4 + length
        bodies[typ, sub].append(body)
        if (typ, sub) == (5, 10):
            if not open_parts:
                touchdowns.append([])
            open_parts[body[1]] = {"site": body[1], "values": {}, "failing": 0}
        elif (typ, sub) == (15, 10):
            number, _, site, flag, _, result = struct.unpack_from(order + "IBBBBf", body)
            open_parts[site]["values"][TESTS[number]] = result
            open_parts[site]["failing"] += flag >> 7
        elif (typ, sub) == (5, 20):
            _, site, flag, _, hard, soft, x, y, test_t = struct.unpack_from(order + "BBBHHHhhI", body)
            part = open_parts.pop(site)
            part |= {"passed": not flag & 8, "hard": hard, "soft": soft, "x": x, "y": y, "test_t": test_t}
            touchdowns[-1].append(len(parts))
            parts.append(part)
    assert at == len(content)
    assert not open_parts
    texts = _texts(bodies[1, 10][0][15:])
    return Scan(
        parts=parts,
        touchdowns=touchdowns,
        lot_id=texts[0],
        wafer_id=_texts(bodies[2, 10][0][6:])[0],
        insertion=texts[10],
        start=struct.unpack_from(order + "I", bodies[2, 10][0], 2)[0],
        finish=struct.unpack_from(order + "I", bodies[2, 20][0], 2)[0],
        counts=Counter({kind: len(found) for kind, found in bodies.items()}),
        bodies=bodies,
    )


def _texts(body: bytes) -> list[str]:
    texts = []
    while body:
        texts.append(body[1 : 1 + body[0]].decode())
        body = body[1 + body[0] :]
    return texts


def rows_by_file(lot: LotTruth) -> dict[str, list[dict[str, Any]]]:
    by_file: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in lot.rows.to_pylist():
        by_file[row["file_name"]].append(row)
    return by_file


def test_the_same_spec_gives_the_same_bytes(lot: LotTruth, tmp_path: Path) -> None:
    again = generate_lot(SMALL, tmp_path)
    assert [path.name for path in again.files] == [path.name for path in lot.files]
    assert [path.read_bytes() for path in again.files] == [path.read_bytes() for path in lot.files]
    assert again.rows.equals(lot.rows)


def test_another_seed_or_lot_gives_other_results(lot: LotTruth, tmp_path: Path) -> None:
    values = lot.rows["vdd"].to_pylist()
    assert generate_lot(replace(SMALL, seed=2), tmp_path / "seed").rows["vdd"].to_pylist() != values
    assert generate_lot(replace(SMALL, lot_id="SYN0002"), tmp_path / "lot").rows["vdd"].to_pylist() != values


def test_the_first_wafers_do_not_depend_on_how_many_follow(lot: LotTruth, tmp_path: Path) -> None:
    fewer = generate_lot(replace(SMALL, wafers=2), tmp_path)
    for number in (0, 1):
        assert fewer.files[number].name.endswith("CP1.stdf")
        assert fewer.files[number].read_bytes() == lot.files[number].read_bytes()


def test_files_are_named_after_lot_wafer_and_insertion(lot: LotTruth) -> None:
    assert [path.name for path in lot.files] == [
        f"SYN0001_W0{wafer}_{insertion}.stdf" for insertion in ("CP1", "CP2") for wafer in (1, 2, 3)
    ]


def test_truth_is_what_the_files_say(lot: LotTruth) -> None:
    by_file = rows_by_file(lot)
    assert list(by_file) == [path.name for path in lot.files]
    for path in lot.files:
        found, rows = scan(path.read_bytes()), by_file[path.name]
        assert {(row["lot_id"], row["wafer_id"], row["insertion"]) for row in rows} == {
            (found.lot_id, found.wafer_id, found.insertion)
        }
        assert len(found.parts) == len(rows)
        touchdown_of = {part: number for number, parts in enumerate(found.touchdowns) for part in parts}
        for number, (part, row) in enumerate(zip(found.parts, rows, strict=True)):
            assert part["values"] == {name: row[name] for name in TESTS.values()}
            assert (part["x"], part["y"], part["site"]) == (row["die_x"], row["die_y"], row["site"])
            assert (part["passed"], part["hard"], part["soft"]) == (row["passed"], row["hard_bin"], row["soft_bin"])
            assert part["test_t"] == row["test_time_ms"]
            assert (number, touchdown_of[number]) == (row["part_index"], row["touchdown"])


def test_truth_is_on_disk_as_one_dataset(lot: LotTruth, tmp_path: Path) -> None:
    assert lot.truth_path.name == "truth.parquet"
    assert pq.read_table(lot.truth_path).equals(lot.rows)
    first = generate_lot(replace(SMALL, wafers=1), tmp_path)
    second = generate_lot(replace(SMALL, wafers=1, lot_id="SYN0002"), tmp_path)
    assert pq.read_table(tmp_path / "truth.parquet").num_rows == first.rows.num_rows + second.rows.num_rows


def test_a_touchdown_lies_on_one_2x2_place_of_the_card(lot: LotTruth) -> None:
    corners = set()
    for path in lot.files:
        found = scan(path.read_bytes())
        for touchdown in found.touchdowns:
            parts = [found.parts[i] for i in touchdown]
            assert 1 <= len(parts) <= 4
            assert len({part["site"] for part in parts}) == len(parts)
            lower_left = {(p["x"] - (p["site"] - 1) % 2, p["y"] - (p["site"] - 1) // 2) for p in parts}
            assert len(lower_left) == 1
            corners |= lower_left
    assert len({x % 2 for x, _ in corners}) == len({y % 2 for _, y in corners}) == 1


def test_the_first_pass_is_a_serpentine_over_whole_touchdowns(lot: LotTruth) -> None:
    rows = [row for row in rows_by_file(lot)["SYN0001_W01_CP1.stdf"] if row["attempt"] == 1]
    dies = {(row["die_x"], row["die_y"]) for row in rows}
    assert len(dies) == len(rows)
    assert min(x for x, _ in dies) < 0
    assert min(y for _, y in dies) < 0
    sizes = Counter(row["touchdown"] for row in rows)
    assert sizes.most_common(1)[0][1] == 4
    assert min(sizes.values()) < 4
    tiles: list[tuple[int, int]] = []
    for _, group in itertools.groupby(rows, key=lambda row: row["touchdown"]):
        part = next(group)
        tiles.append((part["die_y"] - (part["site"] - 1) // 2, part["die_x"] - (part["site"] - 1) % 2))
    assert len(tiles) == len(set(tiles)) == len(sizes)
    directions = []
    for _, row_tiles in itertools.groupby(tiles, key=lambda tile: tile[0]):
        xs = [x for _, x in row_tiles]
        assert xs in (sorted(xs), sorted(xs, reverse=True))
        directions.append(xs == sorted(xs))
    assert directions == [number % 2 == 0 for number in range(len(directions))]


def test_fails_are_retested_once_at_the_end_of_the_file(lot: LotTruth) -> None:
    recovered = 0
    for rows in rows_by_file(lot).values():
        attempts = [row["attempt"] for row in rows]
        assert attempts == sorted(attempts)
        assert set(attempts) == {1, 2}
        place = [(row["die_x"], row["die_y"]) for row in rows]
        first = [place[i] for i, row in enumerate(rows) if row["attempt"] == 1 and not row["passed"]]
        second = [place[i] for i, row in enumerate(rows) if row["attempt"] == 2]
        assert second == first
        last_first = max(row["touchdown"] for row in rows if row["attempt"] == 1)
        assert min(row["touchdown"] for row in rows if row["attempt"] == 2) == last_first + 1
        recovered += sum(row["passed"] for row in rows if row["attempt"] == 2)
    assert recovered > 0


def test_only_good_dies_go_to_the_second_insertion(lot: LotTruth) -> None:
    by_file = rows_by_file(lot)
    for wafer in ("W01", "W02", "W03"):
        good = {(r["die_x"], r["die_y"]) for r in by_file[f"SYN0001_{wafer}_CP1.stdf"] if r["passed"]}
        assert {(r["die_x"], r["die_y"]) for r in by_file[f"SYN0001_{wafer}_CP2.stdf"]} == good
    last_cp1 = max(row["event_local"] for row in lot.rows.to_pylist() if row["insertion"] == "CP1")
    first_cp2 = min(row["event_local"] for row in lot.rows.to_pylist() if row["insertion"] == "CP2")
    assert first_cp2 - last_cp1 > SMALL.second_insertion_after


def test_times_add_up_to_the_runs_finish(lot: LotTruth) -> None:
    ends: datetime = datetime.min
    for path in lot.files:
        found, rows = scan(path.read_bytes()), rows_by_file(lot)[path.name]
        longest = [max(found.parts[i]["test_t"] for i in touchdown) for touchdown in found.touchdowns]
        index_s = (found.finish - found.start - sum(longest) / 1e3) / len(longest)
        assert SMALL.index_time_ms / 1e3 <= index_s < SMALL.index_time_ms / 1e3 + 1 / len(longest)
        begin = EPOCH + timedelta(seconds=found.start)
        assert begin > ends
        for row in rows:
            done = row["touchdown"] + 1
            expected = begin + timedelta(seconds=sum(longest[:done]) / 1e3 + done * index_s)
            assert abs(row["event_local"] - expected) <= timedelta(microseconds=2)
        ends = rows[-1]["event_local"]
        assert ends == EPOCH + timedelta(seconds=found.finish)


def test_bins_follow_limits_and_only_the_first_ptr_of_a_test_names_it(lot: LotTruth) -> None:
    hard_bins = set()
    for path in lot.files:
        found = scan(path.read_bytes())
        lengths = [len(body) for body in found.bodies[15, 10]]
        first = {struct.unpack_from("<I", body)[0]: body for body in reversed(found.bodies[15, 10])}
        assert sorted(first) == sorted(TESTS)
        assert sum(length > 12 for length in lengths) == len(TESTS)
        assert all(body[12:].startswith(bytes([len(TESTS[n])]) + TESTS[n].encode()) for n, body in first.items())
        for part in found.parts:
            hard_bins.add(part["hard"])
            assert part["passed"] == (part["hard"] == 1) == (part["soft"] == 1)
            if part["failing"]:
                assert part["hard"] in (2, 3, 4, 5)
            else:
                assert part["hard"] in (1, 6)
    assert {1, 3, 6} <= hard_bins


def test_every_file_has_its_head_and_its_summaries(lot: LotTruth) -> None:
    for path in lot.files:
        found = scan(path.read_bytes())
        one_each = {(0, 10), (1, 10), (1, 80), (2, 30), (2, 10), (2, 20), (1, 30), (1, 20)}
        assert {kind for kind, count in found.counts.items() if count == 1} == one_each
        assert found.counts[10, 30] == len(TESTS)
        assert found.counts[5, 10] == found.counts[5, 20] == len(found.parts)
        assert found.counts[15, 10] == len(TESTS) * len(found.parts)
        size, height, width, units, _, center_x, center_y, pos_x, pos_y = struct.unpack(
            "<fffBchhcc", found.bodies[2, 30][0]
        )
        assert (size, height, width, units, center_x, center_y) == (200.0, 9.0, 11.0, 3, 2, -3)
        assert (pos_x, pos_y) == (b"R", b"U")
        assert found.bodies[1, 80][0][:7] == bytes([1, 1, 4, 1, 2, 3, 4])


def test_fails_at_the_second_insertion_gather_around_fails_of_the_first(tmp_path: Path) -> None:
    lot = generate_lot(LotSpec(wafers=4), tmp_path)
    final: dict[tuple[Any, ...], bool] = {}
    for row in lot.rows.to_pylist():
        final[row["insertion"], row["wafer_id"], row["die_x"], row["die_y"]] = row["passed"]
    near: list[bool] = []
    far: list[bool] = []
    for (insertion, wafer, x, y), passed in final.items():
        if insertion == "CP2":
            around = [final.get(("CP1", wafer, x + a, y + b), True) for a in (-1, 0, 1) for b in (-1, 0, 1)]
            (near if around.count(False) >= 2 else far).append(not passed)
    overall = (sum(near) + sum(far)) / (len(near) + len(far))
    assert 0.03 < overall < 0.15
    assert sum(near) / len(near) > 1.8 * sum(far) / len(far)


def test_every_third_wafer_has_a_ring_and_every_fourth_a_scratch() -> None:
    dies = wafer_dies(LotSpec())
    edge = np.hypot(dies.x_mm, dies.y_mm) > 90.0
    plain = LotProcess(speed=0.0, supply=0.0, log_defects=0.0, first_ring=9, first_scratch=9)

    def defects(lot: LotProcess, index: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        drawn = [draw_wafer(np.random.default_rng(s), lot, dies, index=index, radius_mm=100.0) for s in range(60)]
        return np.asarray(np.mean([wafer.defects for wafer in drawn], axis=0))

    for index in range(6):
        none = defects(plain, index)
        ring = defects(plain._replace(first_ring=1), index)
        scratch = defects(plain._replace(first_scratch=1), index)
        assert (ring[edge].mean() > 3 * none[edge].mean()) == (index % 3 == 1)
        assert (scratch.mean() > none.mean() + 0.02) == (index % 4 == 1)


@pytest.mark.parametrize(("compress", "unpack"), [("gz", gzip.decompress), ("bz2", bz2.decompress)])
def test_compressed_and_big_endian_files_hold_the_same(
    lot: LotTruth, tmp_path: Path, compress: Any, unpack: Any
) -> None:
    other = generate_lot(replace(SMALL, compress=compress, byte_order="big"), tmp_path)
    path = other.files[0]
    assert path.name == f"SYN0001_W01_CP1.stdf.{compress}"
    content = unpack(path.read_bytes())
    assert content[:4].hex() == "0002000a"
    assert scan(content).parts == scan(lot.files[0].read_bytes()).parts


@pytest.mark.parametrize("seed", range(30))
def test_tiny_wafers_can_be_made(seed: int, tmp_path: Path) -> None:
    spec = LotSpec(seed=seed, wafers=1, wafer_diameter_mm=50.0, die_width_mm=7.0, die_height_mm=7.0)
    lot = generate_lot(spec, tmp_path)
    assert lot.rows.num_rows == sum(len(scan(path.read_bytes()).parts) for path in lot.files)


def test_a_spec_lists_all_its_faults() -> None:
    with pytest.raises(RequestError, match=r"lot_id must be .*; wafers must be 1 to 99; .*start must be"):
        LotSpec(lot_id="A/B", wafers=0, start=datetime(2025, 1, 1, 0, 0, 0, 5))
