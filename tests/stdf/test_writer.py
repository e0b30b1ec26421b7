"""The writer against bytes worked out by hand from the STDF V4 specification."""

from __future__ import annotations

import bz2
import gzip
import struct
from pathlib import Path
from typing import Any

import pytest

from fs_spark.errors import StdfError
from fs_spark.stdf.layouts import RECORDS
from fs_spark.stdf.writer import StdfWriter, encode_record

NO_COUNT = "ff ff ff ff "


def test_far_tells_the_byte_order() -> None:
    assert encode_record("FAR", "little").hex(" ") == "02 00 00 0a 02 04"
    assert encode_record("FAR", "big").hex(" ") == "00 02 00 0a 01 04"
    assert encode_record("FAR", "big", tail="omit").hex(" ") == "00 01 00 0a 01"


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("little", "16 00 05 14 01 03 08 04 00 06 00 3d 00 fb ff 0c 00 c2 01 00 00 02 31 37 00 00"),
        ("big", "00 16 05 14 01 03 08 00 04 00 06 00 3d ff fb 00 0c 00 00 01 c2 02 31 37 00 00"),
    ],
)
def test_prr(order: Any, expected: str) -> None:
    record = encode_record(
        "PRR",
        order,
        head_num=1,
        site_num=3,
        part_flg=8,
        num_test=4,
        hard_bin=6,
        soft_bin=61,
        x_coord=-5,
        y_coord=12,
        test_t=450,
        part_id="17",
    )
    assert record.hex(" ") == expected


def test_prr_without_its_optional_fields_holds_the_missing_values() -> None:
    required: dict[str, Any] = {"head_num": 1, "site_num": 1, "part_flg": 0, "num_test": 0, "hard_bin": 1}
    body = "01 01 00 00 00 01 00 "
    assert encode_record("PRR", "little", **required).hex(" ") == (
        "14 00 05 14 " + body + "ff ff 00 80 00 80 00 00 00 00 00 00 00"
    )
    assert encode_record("PRR", "little", tail="omit", **required).hex(" ") == "07 00 05 14 " + body.strip()


def test_ptr_ends_after_the_last_given_field() -> None:
    fields: dict[str, Any] = {
        "test_num": 1001,
        "head_num": 1,
        "site_num": 2,
        "test_flg": 0,
        "parm_flg": 0,
        "result": 1.5,
    }
    short = encode_record("PTR", "little", tail="omit", **fields)
    assert short.hex(" ") == "0c 00 0f 0a e9 03 00 00 01 02 00 00 00 00 c0 3f"
    named = encode_record("PTR", "big", tail="omit", test_txt="vdd", **fields)
    assert named.hex(" ") == "00 10 0f 0a 00 00 03 e9 01 02 00 00 3f c0 00 00 03 76 64 64"


def test_ptr_opt_flag_tells_which_fields_hold_no_value() -> None:
    def flag(**fields: Any) -> int:
        head: dict[str, Any] = {
            "test_num": 1,
            "head_num": 1,
            "site_num": 1,
            "test_flg": 0,
            "parm_flg": 0,
            "result": 0.0,
        }
        return encode_record("PTR", "little", **head, **fields)[4 + 14]

    assert flag() == 0b0011_1111
    assert flag(lo_limit=1.0) == 0b0010_1111
    assert flag(res_scal=3, lo_limit=1.0, hi_limit=2.0) == 0b0000_1110
    assert flag(res_scal=3, lo_limit=1.0, hi_limit=2.0, lo_spec=0.0, hi_spec=3.0) == 0b0000_0010
    assert flag(opt_flag=0x4E) == 0x4E


def test_sdr_counts_its_sites() -> None:
    record = encode_record("SDR", "little", tail="omit", head_num=1, site_grp=2, site_num=(1, 2, 3, 4))
    assert record.hex(" ") == "07 00 01 50 01 02 04 01 02 03 04"
    with pytest.raises(StdfError, match=r"SDR\.site_num has 2 elements, but site_cnt is 3"):
        encode_record("SDR", "little", head_num=1, site_grp=2, site_cnt=3, site_num=(1, 2))


def test_wafer_records() -> None:
    assert encode_record("WIR", "big", head_num=1, start_t=0x01020304, wafer_id="W01").hex(" ") == (
        "00 0a 02 0a 01 ff 01 02 03 04 03 57 30 31"
    )
    wrr = encode_record("WRR", "little", head_num=1, site_grp=1, finish_t=7, part_cnt=5, wafer_id="A", tail="omit")
    assert wrr.hex(" ") == "1c 00 02 14 01 01 07 00 00 00 05 00 00 00 " + 4 * NO_COUNT + "01 41"
    wcr = encode_record(
        "WCR",
        "little",
        wafr_siz=200.0,
        die_ht=7.0,
        die_wid=6.0,
        wf_units=3,
        center_x=2,
        center_y=-3,
        pos_x="R",
        pos_y="U",
    )
    assert wcr.hex(" ") == "14 00 02 1e 00 00 48 43 00 00 e0 40 00 00 c0 40 03 20 02 00 fd ff 52 55"
    assert encode_record("WCR", "little").hex(" ") == "14 00 02 1e " + 12 * "00 " + "00 20 00 80 00 80 20 20"


def test_summaries() -> None:
    assert encode_record("HBR", "little", head_num=255, site_num=0, hbin_num=6, hbin_cnt=9, hbin_pf="F").hex(" ") == (
        "0a 00 01 28 ff 00 06 00 09 00 00 00 46 00"
    )
    assert encode_record("SBR", "big", head_num=255, site_num=0, sbin_num=1, sbin_cnt=2, sbin_nam="P").hex(" ") == (
        "00 0b 01 32 ff 00 00 01 00 00 00 02 20 01 50"
    )
    assert encode_record("PCR", "big", head_num=255, site_num=0, part_cnt=3, good_cnt=2).hex(" ") == (
        "00 16 01 1e ff 00 00 00 00 03 " + 2 * NO_COUNT + "00 00 00 02 " + NO_COUNT.strip()
    )
    tsr = encode_record("TSR", "little", tail="omit", head_num=255, site_num=0, test_num=1001, test_nam="idd")
    assert tsr.hex(" ") == "17 00 0a 1e ff 00 20 e9 03 00 00 " + 3 * NO_COUNT + "03 69 64 64"
    full = encode_record("TSR", "little", head_num=255, site_num=0, test_num=1, test_min=-1.0)
    assert full[4 + 22] == 0b1111_1110
    assert encode_record("MRR", "little", tail="omit", finish_t=1).hex(" ") == "04 00 01 14 01 00 00 00"


def test_mir_fields_stand_in_order() -> None:
    record = encode_record(
        "MIR", "little", tail="omit", setup_t=1, start_t=2, stat_num=3, lot_id="L1", part_typ="P", node_nam="N",
        tstr_typ="T", job_nam="J", test_cod="CP1",
    )  # fmt: skip
    fixed = "01 00 00 00 02 00 00 00 03 20 20 20 ff ff 20 "
    texts = "02 4c 31 01 50 01 4e 01 54 01 4a 00 00 00 00 00 03 43 50 31"
    assert record.hex(" ") == "23 00 01 0a " + fixed + texts


def test_arrays_of_results_and_of_nibbles() -> None:
    record = encode_record(
        "MPR", "little", tail="omit", test_num=1, head_num=1, site_num=1, test_flg=0, parm_flg=0,
        rtn_stat=(1, 2, 3), rtn_rslt=(1.0, 2.0),
    )  # fmt: skip
    assert record.hex(" ") == ("16 00 0f 0f 01 00 00 00 01 01 00 00 03 00 02 00 21 03 00 00 80 3f 00 00 00 40")
    bits = encode_record(
        "FTR", "big", tail="omit", test_num=1, head_num=1, site_num=1, test_flg=0, fail_pin=(1, 0, 0, 0, 0, 0, 0, 0, 1)
    )
    assert bits.hex(" ").endswith("00 09 01 01")


@pytest.mark.parametrize("name", sorted(RECORDS))
@pytest.mark.parametrize(("order", "prefix"), [("little", "<"), ("big", ">")])
def test_header_holds_length_type_and_subtype(name: str, order: Any, prefix: str) -> None:
    arrays = {field.length: field.name for field in RECORDS[name].fields if field.length}
    needed: dict[str, Any] = {}
    for field in RECORDS[name].fields:
        if field.missing is None and field.name in arrays:
            needed[arrays[field.name]] = (1,)
        elif field.missing is None:
            needed[field.name] = "x" if field.type == "Cn" else 1
    record = encode_record(name, order, **needed)
    length, typ, sub = struct.unpack_from(prefix + "HBB", record)
    assert (length, typ, sub) == (len(record) - 4, RECORDS[name].typ, RECORDS[name].sub)


def test_faults_are_told() -> None:
    with pytest.raises(StdfError, match="did you mean 'head_num'"):
        encode_record("PIR", "little", head_nmu=1, site_num=1)
    with pytest.raises(StdfError, match="PIR needs site_num"):
        encode_record("PIR", "little", head_num=1)
    with pytest.raises(StdfError, match="'XYZ' is not a record"):
        encode_record("XYZ", "little")
    with pytest.raises(StdfError, match="does not fit its type"):
        encode_record("PIR", "little", head_num=256, site_num=1)
    with pytest.raises(StdfError, match="256 bytes"):
        encode_record("DTR", "little", text_dat="x" * 256)
    with pytest.raises(StdfError, match="does not fit its type"):
        encode_record("DTR", "little", text_dat="\N{GREEK SMALL LETTER MU}A")
    assert encode_record("DTR", "little", text_dat=b"\xb5A").hex(" ") == "03 00 32 1e 02 b5 41"


def test_saved_files_do_not_depend_on_the_clock(tmp_path: Path) -> None:
    writer = StdfWriter("big")
    writer.record("FAR")
    writer.record("PIR", head_num=1, site_num=3)
    writer.save(tmp_path / "none")
    writer.save(tmp_path / "gz", compress="gz")
    writer.save(tmp_path / "bz2", compress="bz2")
    assert (tmp_path / "none").read_bytes() == writer.content == bytes.fromhex("0002000a01040002050a0103")
    assert bz2.decompress((tmp_path / "bz2").read_bytes()) == writer.content
    zipped = (tmp_path / "gz").read_bytes()
    assert gzip.decompress(zipped) == writer.content
    assert zipped[4:8] == b"\0\0\0\0"
