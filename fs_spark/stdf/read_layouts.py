"""The records that are read by field and never written: pin groups, and what V4-2007 added for scan tests.

Where a flag of a record says that a field holds nothing, some testers leave the field out and others write it empty.
Such a record has several layouts; the one that ends where the record ends is the right one.

Sources: STDF Specification, Version 4, Teradyne, p.31-34; STDF V4-2007, "Scan Fail Datalog".
"""

from __future__ import annotations

from typing import Final

from fs_spark.stdf.layouts import RECORDS, Field

Fields = tuple[Field, ...]


def _texts(*names: str) -> Fields:
    return tuple(Field(name, "Cn", "") for name in names)


_PATTERNS: Final = ("pat_lbl", "file_uid", "atpg_dsc", "src_id")
_PSR: Final[Fields] = (
    Field("cont_flg", "B1", 0),
    Field("psr_indx", "U2"),
    *_texts("psr_nam"),
    Field("opt_flg", "B1", 0),
    Field("totp_cnt", "U2"),
    Field("locp_cnt", "U2"),
    Field("pat_bgn", "kxU8", None, "locp_cnt"),
    Field("pat_end", "kxU8", None, "locp_cnt"),
    Field("pat_file", "kxCn", None, "locp_cnt"),
)


def _pattern_sequences() -> tuple[Fields, ...]:
    """All four optional arrays, or only those whose bit of OPT_FLG is clear: sixteen ways, told by the length."""
    whole = tuple(Field(name, "kxCn", None, "locp_cnt") for name in _PATTERNS)
    chosen = [tuple(field for bit, field in enumerate(whole) if not gone >> bit & 1) for gone in range(16)]
    return tuple((*_PSR, *fields) for fields in chosen)


_CHAIN_HEAD: Final[Fields] = (
    Field("cont_flg", "B1", 0),
    Field("cdr_indx", "U2"),
    *_texts("chn_nam"),
    Field("chn_len", "U4"),
    Field("sin_pin", "U2", 0),
    Field("sout_pin", "U2", 0),
    Field("mstr_cnt", "U1"),
    Field("m_clks", "kxU2", None, "mstr_cnt"),
    Field("slav_cnt", "U1"),
    Field("s_clks", "kxU2", None, "slav_cnt"),
    Field("inv_val", "U1", 255),
    Field("lst_cnt", "U2"),
    Field("cell_lst", "kxSn", None, "lst_cnt"),
)


def _wide(count: str, name: str, size: str) -> Fields:
    """An array of numbers, each as wide as another field says."""
    return (Field(count, "U2"), Field(name, "kxUf", None, count, size))


def _bytes_of(count: str, name: str) -> Fields:
    return (Field(count, "U2"), Field(name, "kxU1", None, count))


_STR_HEAD: Final[Fields] = (
    Field("cont_flg", "B1", 0),
    Field("test_num", "U4"),
    Field("head_num", "U1"),
    Field("site_num", "U1"),
    Field("psr_ref", "U2"),
    Field("test_flg", "B1"),
    *_texts("log_typ", "test_txt", "alarm_id", "prog_txt", "rslt_txt"),
    Field("z_val", "U1"),
    Field("fmu_flg", "B1", 0),
)
_MASK_MAP: Final = Field("mask_map", "Dn", b"")
_FAL_MAP: Final = Field("fal_map", "Dn", b"")
_STR_REST: Final[Fields] = (
    Field("cyc_cnt_t", "U8"),
    Field("totf_cnt", "U4"),
    Field("totl_cnt", "U4"),
    Field("cyc_base", "U8"),
    Field("bit_base", "U4"),
    Field("cond_cnt", "U2"),
    Field("lim_cnt", "U2"),
    *(
        Field(name, "U1")
        for name in (
            "cyc_size", "pmr_size", "chn_size", "pat_size", "bit_size", "u1_size", "u2_size", "u3_size", "utx_size",
        )
    ),
    Field("cap_bgn", "U2"),
    Field("lim_indx", "kxU2", None, "lim_cnt"),
    Field("lim_spec", "kxU4", None, "lim_cnt"),
    Field("cond_lst", "kxCn", None, "cond_cnt"),
    *_wide("cyc_cnt", "cyc_ofst", "cyc_size"),
    *_wide("pmr_cnt", "pmr_indx", "pmr_size"),
    *_wide("chn_cnt", "chn_num", "chn_size"),
    *_bytes_of("exp_cnt", "exp_data"),
    *_bytes_of("cap_cnt", "cap_data"),
    *_bytes_of("new_cnt", "new_data"),
    *_wide("pat_cnt", "pat_num", "pat_size"),
    *_wide("bpos_cnt", "bit_pos", "bit_size"),
    *_wide("usr1_cnt", "usr1", "u1_size"),
    *_wide("usr2_cnt", "usr2", "u2_size"),
    *_wide("usr3_cnt", "usr3", "u3_size"),
    Field("txt_cnt", "U2"),
    Field("user_txt", "kxCf", None, "txt_cnt", "utx_size"),
)  # fmt: skip

_PGR: Final[Fields] = (
    Field("grp_indx", "U2"),
    *_texts("grp_nam"),
    Field("indx_cnt", "U2"),
    Field("pmr_indx", "kxU2", None, "indx_cnt"),
)
_PLR: Final[Fields] = (
    Field("grp_cnt", "U2"),
    Field("grp_indx", "kxU2", None, "grp_cnt"),
    Field("grp_mode", "kxU2", None, "grp_cnt"),
    Field("grp_radx", "kxU1", None, "grp_cnt"),
    *(Field(name, "kxCn", None, "grp_cnt") for name in ("pgm_char", "rtn_char", "pgm_chal", "rtn_chal")),
)
_NMR: Final[Fields] = (
    Field("cont_flg", "B1", 0),
    Field("totm_cnt", "U2"),
    Field("locm_cnt", "U2"),
    Field("pmr_indx", "kxU2", None, "locm_cnt"),
    Field("atpg_nam", "kxCn", None, "locm_cnt"),
)
_VUR: Final = (
    (*_texts("upd_nam"),),
    (Field("upd_cnt", "U1"), Field("upd_nam", "kxCn", None, "upd_cnt")),
)

LAYOUTS: Final[dict[str, tuple[Fields, ...]]] = {
    **{name: (layout.fields,) for name, layout in RECORDS.items()},
    "VUR": _VUR,
    "PGR": (_PGR,),
    "PLR": (_PLR,),
    "PSR": _pattern_sequences(),
    "NMR": (_NMR,),
    "CNR": ((Field("chn_num", "U2"), Field("bit_pos", "U4"), Field("cell_nam", "Sn", "")),),
    "SSR": (
        (*_texts("ssr_nam"), Field("chn_cnt", "U2"), Field("chn_list", "kxU2", None, "chn_cnt")),
    ),
    "CDR": (_CHAIN_HEAD,),
    "STR": tuple((*_STR_HEAD, *maps, *_STR_REST) for maps in ((_MASK_MAP, _FAL_MAP), (), (_MASK_MAP,), (_FAL_MAP,))),
}  # fmt: skip
"""Every record of STDF V4 and V4-2007 but the GDR: its layouts, the usual one first."""

BY_FLAG: Final = {"PSR": "opt_flg"}
"""Records whose other layouts are numbered by the four low bits of a flag."""
