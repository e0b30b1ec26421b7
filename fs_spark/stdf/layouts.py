"""The records of STDF V4 as data: one table that writes and reads alike.

`RECORDS["PRR"]` is a `Layout`: record type, subtype, and the fields in file order, each with its type and the value
that stands for "missing". A field whose `missing` is None must be given. Types are those of the specification without
the star: `U2`, `I1`, `R4`, `C1` (one character), `B1` (a byte of flags), `Cn` (text), `Sn` (text behind two bytes of
length), `Bn` (bytes), `Dn` (bits), and `kx` before a type for arrays whose length is the field named by `length`; of a
`kxUf` and a `kxCf` the field named by `size` says how many bytes each number or text has.

Source: Standard Test Data Format (STDF) Specification, Version 4, Teradyne, "STDF Record Types".
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

FieldType = Literal[
    "U1", "U2", "U4", "U8", "I1", "I2", "I4", "R4", "C1", "B1", "Cn", "Sn", "Bn", "Dn",
    "kxU1", "kxU2", "kxU4", "kxU8", "kxR4", "kxN1", "kxCn", "kxSn", "kxUf", "kxCf",
]  # fmt: skip

CPU_TYPES: Final = {"big": 1, "little": 2}
"""FAR CPU_TYPE: 1 is Sun (big-endian), 2 is 80x86 (little-endian)."""

STRUCT_CODES: Final[dict[str, str]] = {
    "U1": "B", "U2": "H", "U4": "I", "U8": "Q", "I1": "b", "I2": "h", "I4": "i", "R4": "f", "C1": "c", "B1": "B",
}  # fmt: skip
"""`struct` format of each type of fixed length."""

NO_COUNT: Final = 4_294_967_295
NO_PLACE: Final = -32768
NO_SOFT_BIN: Final = 65535


class Field(NamedTuple):
    """One field of a record; `missing` None means that it must be given."""

    name: str
    type: FieldType
    missing: int | float | str | bytes | None = None
    length: str = ""
    size: str = ""


class Layout(NamedTuple):
    """A record: REC_TYP, REC_SUB and the fields in file order."""

    typ: int
    sub: int
    fields: tuple[Field, ...]


class OptFlag(NamedTuple):
    """How OPT_FLAG of a record tells which fields hold no value: bits always set, and a bit for each absent field."""

    reserved: int
    absent: dict[str, int]


def _texts(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name, "Cn", "") for name in names)


_HEAD_SITE: Final = (Field("head_num", "U1"), Field("site_num", "U1"))
_PART_COUNTS: Final = (
    Field("part_cnt", "U4"),
    *(Field(name, "U4", NO_COUNT) for name in ("rtst_cnt", "abrt_cnt", "good_cnt", "func_cnt")),
)
_SCALES_AND_LIMITS: Final = (
    Field("opt_flag", "B1", 0),
    Field("res_scal", "I1", 0),
    Field("llm_scal", "I1", 0),
    Field("hlm_scal", "I1", 0),
    Field("lo_limit", "R4", 0.0),
    Field("hi_limit", "R4", 0.0),
)
_FORMATS_AND_SPECS: Final = (
    *_texts("c_resfmt", "c_llmfmt", "c_hlmfmt"),
    Field("lo_spec", "R4", 0.0),
    Field("hi_spec", "R4", 0.0),
)

RECORDS: Final[dict[str, Layout]] = {
    "FAR": Layout(0, 10, (Field("cpu_type", "U1"), Field("stdf_ver", "U1", 4))),
    "ATR": Layout(0, 20, (Field("mod_tim", "U4"), Field("cmd_line", "Cn", ""))),
    "MIR": Layout(
        1,
        10,
        (
            Field("setup_t", "U4"),
            Field("start_t", "U4"),
            Field("stat_num", "U1"),
            Field("mode_cod", "C1", " "),
            Field("rtst_cod", "C1", " "),
            Field("prot_cod", "C1", " "),
            Field("burn_tim", "U2", 65535),
            Field("cmod_cod", "C1", " "),
            *(Field(name, "Cn") for name in ("lot_id", "part_typ", "node_nam", "tstr_typ", "job_nam")),
            *_texts("job_rev", "sblot_id", "oper_nam", "exec_typ", "exec_ver", "test_cod", "tst_temp", "user_txt"),
            *_texts("aux_file", "pkg_typ", "famly_id", "date_cod", "facil_id", "floor_id", "proc_id", "oper_frq"),
            *_texts("spec_nam", "spec_ver", "flow_id", "setup_id", "dsgn_rev", "eng_id", "rom_cod", "serl_num"),
            *_texts("supr_nam"),
        ),
    ),
    "MRR": Layout(1, 20, (Field("finish_t", "U4"), Field("disp_cod", "C1", " "), *_texts("usr_desc", "exc_desc"))),
    "PCR": Layout(1, 30, (*_HEAD_SITE, *_PART_COUNTS)),
    "HBR": Layout(
        1,
        40,
        (
            *_HEAD_SITE,
            Field("hbin_num", "U2"),
            Field("hbin_cnt", "U4"),
            Field("hbin_pf", "C1", " "),
            Field("hbin_nam", "Cn", ""),
        ),
    ),
    "SBR": Layout(
        1,
        50,
        (
            *_HEAD_SITE,
            Field("sbin_num", "U2"),
            Field("sbin_cnt", "U4"),
            Field("sbin_pf", "C1", " "),
            Field("sbin_nam", "Cn", ""),
        ),
    ),
    "PMR": Layout(
        1,
        60,
        (
            Field("pmr_indx", "U2"),
            Field("chan_typ", "U2", 0),
            *_texts("chan_nam", "phy_nam", "log_nam"),
            Field("head_num", "U1", 1),
            Field("site_num", "U1", 1),
        ),
    ),
    "RDR": Layout(1, 70, (Field("num_bins", "U2"), Field("rtst_bin", "kxU2", b"", "num_bins"))),
    "SDR": Layout(
        1,
        80,
        (
            Field("head_num", "U1"),
            Field("site_grp", "U1"),
            Field("site_cnt", "U1"),
            Field("site_num", "kxU1", b"", "site_cnt"),
            *_texts("hand_typ", "hand_id", "card_typ", "card_id", "load_typ", "load_id", "dib_typ", "dib_id"),
            *_texts("cabl_typ", "cabl_id", "cont_typ", "cont_id", "lasr_typ", "lasr_id", "extr_typ", "extr_id"),
        ),
    ),
    "WIR": Layout(
        2,
        10,
        (Field("head_num", "U1"), Field("site_grp", "U1", 255), Field("start_t", "U4"), Field("wafer_id", "Cn", "")),
    ),
    "WRR": Layout(
        2,
        20,
        (
            Field("head_num", "U1"),
            Field("site_grp", "U1", 255),
            Field("finish_t", "U4"),
            *_PART_COUNTS,
            *_texts("wafer_id", "fabwf_id", "frame_id", "mask_id", "usr_desc", "exc_desc"),
        ),
    ),
    "WCR": Layout(
        2,
        30,
        (
            Field("wafr_siz", "R4", 0.0),
            Field("die_ht", "R4", 0.0),
            Field("die_wid", "R4", 0.0),
            Field("wf_units", "U1", 0),
            Field("wf_flat", "C1", " "),
            Field("center_x", "I2", NO_PLACE),
            Field("center_y", "I2", NO_PLACE),
            Field("pos_x", "C1", " "),
            Field("pos_y", "C1", " "),
        ),
    ),
    "PIR": Layout(5, 10, _HEAD_SITE),
    "PRR": Layout(
        5,
        20,
        (
            *_HEAD_SITE,
            Field("part_flg", "B1"),
            Field("num_test", "U2"),
            Field("hard_bin", "U2"),
            Field("soft_bin", "U2", NO_SOFT_BIN),
            Field("x_coord", "I2", NO_PLACE),
            Field("y_coord", "I2", NO_PLACE),
            Field("test_t", "U4", 0),
            *_texts("part_id", "part_txt"),
            Field("part_fix", "Bn", b""),
        ),
    ),
    "TSR": Layout(
        10,
        30,
        (
            *_HEAD_SITE,
            Field("test_typ", "C1", " "),
            Field("test_num", "U4"),
            *(Field(name, "U4", NO_COUNT) for name in ("exec_cnt", "fail_cnt", "alrm_cnt")),
            *_texts("test_nam", "seq_name", "test_lbl"),
            Field("opt_flag", "B1", 0),
            *(Field(name, "R4", 0.0) for name in ("test_tim", "test_min", "test_max", "tst_sums", "tst_sqrs")),
        ),
    ),
    "PTR": Layout(
        15,
        10,
        (
            Field("test_num", "U4"),
            *_HEAD_SITE,
            Field("test_flg", "B1"),
            Field("parm_flg", "B1"),
            Field("result", "R4"),
            *_texts("test_txt", "alarm_id"),
            *_SCALES_AND_LIMITS,
            *_texts("units"),
            *_FORMATS_AND_SPECS,
        ),
    ),
    "MPR": Layout(
        15,
        15,
        (
            Field("test_num", "U4"),
            *_HEAD_SITE,
            Field("test_flg", "B1"),
            Field("parm_flg", "B1"),
            Field("rtn_icnt", "U2", 0),
            Field("rslt_cnt", "U2", 0),
            Field("rtn_stat", "kxN1", b"", "rtn_icnt"),
            Field("rtn_rslt", "kxR4", b"", "rslt_cnt"),
            *_texts("test_txt", "alarm_id"),
            *_SCALES_AND_LIMITS,
            Field("start_in", "R4", 0.0),
            Field("incr_in", "R4", 0.0),
            Field("rtn_indx", "kxU2", b"", "rtn_icnt"),
            *_texts("units", "units_in"),
            *_FORMATS_AND_SPECS,
        ),
    ),
    "FTR": Layout(
        15,
        20,
        (
            Field("test_num", "U4"),
            *_HEAD_SITE,
            Field("test_flg", "B1"),
            Field("opt_flag", "B1", 0),
            *(Field(name, "U4", 0) for name in ("cycl_cnt", "rel_vadr", "rept_cnt", "num_fail")),
            Field("xfail_ad", "I4", 0),
            Field("yfail_ad", "I4", 0),
            Field("vect_off", "I2", 0),
            Field("rtn_icnt", "U2", 0),
            Field("pgm_icnt", "U2", 0),
            Field("rtn_indx", "kxU2", b"", "rtn_icnt"),
            Field("rtn_stat", "kxN1", b"", "rtn_icnt"),
            Field("pgm_indx", "kxU2", b"", "pgm_icnt"),
            Field("pgm_stat", "kxN1", b"", "pgm_icnt"),
            Field("fail_pin", "Dn", b""),
            *_texts("vect_nam", "time_set", "op_code", "test_txt", "alarm_id", "prog_txt", "rslt_txt"),
            Field("patg_num", "U1", 255),
            Field("spin_map", "Dn", b""),
        ),
    ),
    "BPS": Layout(20, 10, _texts("seq_name")),
    "EPS": Layout(20, 20, ()),
    "DTR": Layout(50, 30, _texts("text_dat")),
}
"""Every record that fs_spark writes; those that it only reads are in `read_layouts`."""

_LIMIT_BITS: Final = {"res_scal": 0x01, "lo_spec": 0x04, "hi_spec": 0x08, "lo_limit": 0x10, "hi_limit": 0x20}
OPT_FLAGS: Final[dict[str, OptFlag]] = {
    "PTR": OptFlag(0x02, _LIMIT_BITS),
    "MPR": OptFlag(0x00, {**_LIMIT_BITS, "start_in": 0x02, "incr_in": 0x02}),
    "FTR": OptFlag(
        0xC0,
        {
            "cycl_cnt": 0x01,
            "rel_vadr": 0x02,
            "rept_cnt": 0x04,
            "num_fail": 0x08,
            "xfail_ad": 0x10,
            "yfail_ad": 0x10,
            "vect_off": 0x20,
        },
    ),
    "TSR": OptFlag(0xC8, {"test_min": 0x01, "test_max": 0x02, "test_tim": 0x04, "tst_sums": 0x10, "tst_sqrs": 0x20}),
}
"""An absent limit of a PTR or MPR means "that of the first record of the test" (bits 4, 5), not "none" (bits 6, 7)."""
