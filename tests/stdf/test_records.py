"""Every record of STDF V4 and V4-2007 by name, made by hand, in both byte orders; texts in their encodings."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from fs_spark.errors import StdfError
from fs_spark.stdf import read_stdf
from fs_spark.stdf.framing import KINDS
from fs_spark.stdf.texts import decode_text
from tests.stdf.files import ANY_PRODUCT, Maker, in_zone


class Bytes:
    """A record's bytes field by field."""

    def __init__(self, order: str) -> None:
        self.order, self.made = order, b""

    def add(self, codes: str, *values: Any) -> Bytes:
        """`codes` as of struct, `n` a text behind one byte of length, `s` behind two, `d` bits."""
        for code, value in zip(codes.replace(" ", ""), values, strict=True):
            if code == "n":
                self.made += bytes([len(value)]) + value
            elif code == "N":
                self.made += struct.pack(self.order + "H", len(value)) + value
            elif code == "d":
                self.made += struct.pack(self.order + "H", value[0]) + value[1]
            else:
                self.made += struct.pack(self.order + code, value)
        return self


def record(order: str, name: str, payload: bytes) -> bytes:
    return struct.pack(order + "HBB", len(payload), KINDS[name] >> 8, KINDS[name] & 255) + payload


def with_record(order: str, name: str, payload: bytes) -> Any:
    head = Maker("little" if order == "<" else "big").begin().content
    rest = Maker("little" if order == "<" else "big").pir(0).prr(0, 1, 1).end()
    found = read_stdf(head + record(order, name, payload) + rest)
    assert found.report.damage is None
    assert found.report.faults == {}
    return found.records(name)[-1]


def scan_test(order: str, *, maps: str) -> bytes:
    out = Bytes(order).add("B I B B H B", 1, 7001, 1, 0, 3, 0x80).add("nnnnn", b"log", b"scan", b"", b"prog", b"rslt")
    out.add("B B", 2, {"both": 5, "none": 0}[maps])
    if maps == "both":
        out.add("d d", (9, b"\xff\x01"), (3, b"\x05"))
    out.add("Q I I Q I H H", 1 << 40, 6, 3, 1000, 20, 2, 1)
    out.add("BBBBBBBBB", 4, 2, 1, 2, 4, 8, 1, 2, 3).add("H", 77)
    out.add("H I", 12, 99).add("nn", b"a=1", b"b=2")
    for count, code, values in ((3, "I", (1, 2, 70000)), (3, "H", (5, 6, 7)), (2, "B", (8, 9))):
        out.add("H" + code * count, count, *values)
    for states in (b"LH", b"HL", b""):
        out.add("H" + "B" * len(states), len(states), *states)
    for count, code, numbers in (
        (1, "H", (11,)), (2, "I", (21, 22)), (1, "Q", (1 << 50,)), (2, "B", (1, 2)), (1, "H", (31,)),
    ):  # fmt: skip
        out.add("H" + code * count, count, *numbers)
    out.add("H", 2)
    out.made += b"ab cde"
    return out.made


STR_FIELDS = {
    "cont_flg": 1, "test_num": 7001, "head_num": 1, "site_num": 0, "psr_ref": 3, "test_flg": 0x80, "log_typ": "log",
    "test_txt": "scan", "alarm_id": None, "prog_txt": "prog", "rslt_txt": "rslt", "z_val": 2, "cyc_cnt_t": 1 << 40,
    "totf_cnt": 6, "totl_cnt": 3, "cyc_base": 1000, "bit_base": 20, "cond_cnt": 2, "lim_cnt": 1, "cyc_size": 4,
    "pmr_size": 2, "chn_size": 1, "pat_size": 2, "bit_size": 4, "u1_size": 8, "u2_size": 1, "u3_size": 2,
    "utx_size": 3, "cap_bgn": 77, "lim_indx": [12], "lim_spec": [99], "cond_lst": ["a=1", "b=2"], "cyc_cnt": 3,
    "cyc_ofst": [1, 2, 70000], "pmr_cnt": 3, "pmr_indx": [5, 6, 7], "chn_cnt": 2, "chn_num": [8, 9], "exp_cnt": 2,
    "exp_data": list(b"LH"), "cap_cnt": 2, "cap_data": list(b"HL"), "new_cnt": 0, "new_data": [], "pat_cnt": 1,
    "pat_num": [11], "bpos_cnt": 2, "bit_pos": [21, 22], "usr1_cnt": 1, "usr1": [1 << 50], "usr2_cnt": 2,
    "usr2": [1, 2], "usr3_cnt": 1, "usr3": [31], "txt_cnt": 2, "user_txt": ["ab", "cde"],
}  # fmt: skip


@pytest.mark.parametrize("order", ["<", ">"])
def test_scan_test_records(order: str) -> None:
    both = with_record(order, "STR", scan_test(order, maps="both"))
    assert both == {**STR_FIELDS, "fmu_flg": 5, "mask_map": b"\xff\x01", "fal_map": b"\x05"}
    none = with_record(order, "STR", scan_test(order, maps="none"))
    assert none == {**STR_FIELDS, "fmu_flg": 0, "mask_map": None, "fal_map": None}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("gone", [0, 1, 2, 4, 5, 10, 15])
def test_pattern_sequences_with_absent_arrays(order: str, gone: int) -> None:
    out = Bytes(order).add("B H n B H H", 0, 4, b"PSR1", gone, 5, 2).add("QQQQ", 1, 1 << 33, 9, 1 << 34)
    out.add("nn", b"a.stil", b"b.stil")
    arrays = {"pat_lbl": (b"A", b"B"), "file_uid": (b"u1", b"u2"), "atpg_dsc": (b"d", b""), "src_id": (b"s1", b"s2")}
    expected: dict[str, Any] = {}
    for bit, (name, values) in enumerate(arrays.items()):
        expected[name] = None if gone >> bit & 1 else [value.decode() or None for value in values]
        if not gone >> bit & 1:
            out.add("nn", *values)
    assert with_record(order, "PSR", out.made) == {
        "cont_flg": 0, "psr_indx": 4, "psr_nam": "PSR1", "opt_flg": gone, "totp_cnt": 5, "locp_cnt": 2,
        "pat_bgn": [1, 1 << 33], "pat_end": [9, 1 << 34], "pat_file": ["a.stil", "b.stil"], **expected,
    }  # fmt: skip


@pytest.mark.parametrize("order", ["<", ">"])
def test_flagged_arrays_that_are_written_all_the_same_are_read(order: str) -> None:
    out = Bytes(order).add("B H n B H H QQ n", 0, 4, b"P", 15, 1, 1, 1, 2, b"f").add("nnnn", b"l", b"u", b"d", b"s")
    found = with_record(order, "PSR", out.made)
    assert [found[name] for name in ("pat_lbl", "file_uid", "atpg_dsc", "src_id")] == [["l"], ["u"], ["d"], ["s"]]


@pytest.mark.parametrize("order", ["<", ">"])
def test_names_cells_structures_and_chains(order: str) -> None:
    names = Bytes(order).add("B H H HH nn", 1, 9, 2, 5, 6, b"scan_in", b"scan_out").made
    assert with_record(order, "NMR", names) == {
        "cont_flg": 1, "totm_cnt": 9, "locm_cnt": 2, "pmr_indx": [5, 6], "atpg_nam": ["scan_in", "scan_out"],
    }  # fmt: skip
    cell = Bytes(order).add("H I N", 3, 70000, b"x" * 300).made
    assert with_record(order, "CNR", cell) == {"chn_num": 3, "bit_pos": 70000, "cell_nam": "x" * 300}
    structure = Bytes(order).add("n H HHH", b"core", 3, 1, 2, 3).made
    assert with_record(order, "SSR", structure) == {"ssr_nam": "core", "chn_cnt": 3, "chn_list": [1, 2, 3]}
    chain = Bytes(order).add(
        "B H n I H H B HH B H B H NN", 0, 8, b"chain", 9, 1, 2, 2, 11, 12, 1, 21, 1, 2, b"f1", b"f2"
    )
    assert with_record(order, "CDR", chain.made) == {
        "cont_flg": 0, "cdr_indx": 8, "chn_nam": "chain", "chn_len": 9, "sin_pin": 1, "sout_pin": 2, "mstr_cnt": 2,
        "m_clks": [11, 12], "slav_cnt": 1, "s_clks": [21], "inv_val": 1, "lst_cnt": 2, "cell_lst": ["f1", "f2"],
    }  # fmt: skip


@pytest.mark.parametrize("order", ["<", ">"])
def test_pin_groups_lists_and_versions(order: str) -> None:
    group = Bytes(order).add("H n H HH", 40000, b"bus", 2, 1, 2).made
    assert with_record(order, "PGR", group) == {"grp_indx": 40000, "grp_nam": "bus", "indx_cnt": 2, "pmr_indx": [1, 2]}
    pins = Bytes(order).add("H HH HH BB nn nn nn nn", 2, 1, 2, 20, 21, 2, 16, *[b"H", b"L"] * 4).made
    assert with_record(order, "PLR", pins) == {
        "grp_cnt": 2, "grp_indx": [1, 2], "grp_mode": [20, 21], "grp_radx": [2, 16],
        **{key: ["H", "L"] for key in ("pgm_char", "rtn_char", "pgm_chal", "rtn_chal")},
    }  # fmt: skip
    assert with_record(order, "VUR", Bytes(order).add("n", b"V4-2007").made) == {"upd_cnt": None, "upd_nam": "V4-2007"}
    several = Bytes(order).add("B nn", 2, b"V4-2007", b"Memory").made
    assert with_record(order, "VUR", several) == {"upd_cnt": 2, "upd_nam": ["V4-2007", "Memory"]}


def test_nothing_that_is_there_is_not_given() -> None:
    out = Maker().begin().wir("W").pir(0, 1).ptr(0, 5, 1.5, "vdd").ptr(1, 5, 2.5, "vdd")
    out.record("MPR", test_num=6, head_num=1, site_num=0, test_flg=0, parm_flg=0, rtn_rslt=[1.0, 2.0])
    out.record("FTR", test_num=7, head_num=1, site_num=0, test_flg=0, test_txt="ft")
    out.record("BPS", seq_name="flow")
    out.record("EPS")
    found = read_stdf(out.prr(0, 1, 1).prr(1, 2, 1).wrr("W").end())
    for name, count in found.report.record_counts.items():
        assert len(found.records(name)) == count, name
    assert [fields["result"] for fields in found.records("PTR")] == [1.5, 2.5]
    assert [fields["x_coord"] for fields in found.records("PRR")] == [1, 2]
    assert found.records("MPR")[0]["rtn_rslt"] == [1.0, 2.0]
    assert found.records("BPS") == [{"seq_name": "flow"}]
    assert found.records("EPS") == [{}]
    for name in KINDS:
        assert isinstance(found.records(name), list)
    with pytest.raises(StdfError, match="there is no STDF V4 record 'PTX'"):
        found.records("PTX")
    with pytest.raises(StdfError, match="Hint"):
        found.records("ptr")


# texts


def test_texts_are_utf8_or_cp1252_or_latin1_or_what_the_tester_says() -> None:
    assert decode_text("Temp °C ".encode()) == "Temp °C"
    assert decode_text(b"Suite \x96 \xb5A\0 ") == "Suite – µA"
    assert decode_text(b"\x81\xe9") == "\x81é"  # cp1252 has no 0x81
    assert decode_text("电压".encode("gbk")) == "µçÑ¹"
    assert decode_text("电压".encode("gbk"), "gbk") == "电压"
    assert decode_text(b"\xff\xff", "gbk") == "ÿÿ"  # which is not GBK


def named(text: bytes) -> bytes:
    out = Maker().begin(lot_id=text, part_typ=text).wir("W")
    out.record("SDR", tail="omit", head_num=1, site_grp=1, site_num=[0], hand_id=text)
    out.pir(0).ptr(0, 5, 1.0, "vdd")
    out.record("PTR", test_num=6, head_num=1, site_num=0, test_flg=0, parm_flg=0, result=1.0, test_txt=text, units=text)
    out.prr(0, 1, 1, part_id=text)
    out.record("HBR", head_num=255, site_num=0, hbin_num=1, hbin_cnt=1, hbin_nam=text)
    out.record("DTR", text_dat=text)
    out.record("WRR", tail="omit", head_num=1, finish_t=1_000_000_100, part_cnt=1, wafer_id=text)
    out.record("TSR", tail="omit", head_num=1, site_num=0, test_typ="P", test_num=9, test_nam=text)
    return out.end()


@pytest.mark.parametrize(
    ("raw", "encoding", "text"),
    [
        ("µ°Ω".encode(), None, "µ°Ω"), (b"\xb5\x96", None, "µ–"), ("批次".encode("gbk"), "gbk", "批次"),
        ("ロット".encode("cp932"), "cp932", "ロット"), (b"LOT-1", "gbk", "LOT-1"),
    ],
)  # fmt: skip
def test_the_encoding_holds_for_every_text_of_a_file(raw: bytes, encoding: str | None, text: str) -> None:
    found = read_stdf(named(raw), testers=[in_zone(encoding=encoding)], products=ANY_PRODUCT)
    assert found.parts.select(["lot_id", "wafer_id", "part_id"]).to_pylist() == [
        {"lot_id": text, "wafer_id": text, "part_id": text}
    ]
    assert found.tests.to_pylist()[1]["unit"] == text
    assert found.tests["test_name"].to_pylist() == ["vdd", text, text]
    assert found.bins["name"].to_pylist() == [text]
    assert found.sites["hand_id"].to_pylist() == [text]
    assert found.records("DTR") == [{"text_dat": text}]
    assert found.header["part_typ"] == text
    assert found.results["test_name"].to_pylist() == ["vdd", text]


def test_an_unknown_encoding_is_refused() -> None:
    with pytest.raises(ValueError, match="'gbx' is not an encoding"):
        in_zone(encoding="gbx")


def test_a_text_that_runs_over_its_record_is_said_and_is_no_name() -> None:
    data = Maker().begin(lot_id="LOT1").pir(0).prr(0, 1, 1).end()
    length = int.from_bytes(data[6:8], "little")
    mir = data[10 : 10 + length]
    at = 15 + 1 + 4 + 1 + 4  # behind LOT_ID and PART_TYP: NODE_NAM
    broken = mir[:at] + b"\xf0" + mir[at + 1 :]
    found = read_stdf(data[:10] + broken + data[10 + length :])
    assert found.header["lot_id"] == "LOT1"
    assert found.header["node_nam"] is None
    assert found.report.faults == {"overlong_fields": 1}
    assert "1 fields reach beyond the end of their record" in found.report.warnings
