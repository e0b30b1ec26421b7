"""Where the records of a file are, byte by byte on `struct` alone: known, sound and unknown records, damage, ends.

A record is sound when its type is in `FIELDS` and its payload ends where one of its fields ends, no sooner than behind
the fields that it must have (those before the `|`). A place makes sense when the records from there on, each found by
the length of the one before, are sound three times, or once up to an MRR, or once up to the end of the file, or twice
up to a known record that the file cuts. Other records in between are passed over.
"""

import struct
from typing import Any

FAR, MIR, MRR, PIR, PRR = (0, 10), (1, 10), (1, 20), (5, 10), (5, 20)
FIELDS = {
    (0, 10): "1 | 1",
    (0, 20): "4 | n",
    (1, 10): "4 4 1 1 1 1 2 1 n n n n n |" + " n" * 25,
    (1, 20): "4 | 1 n n",
    (1, 30): "1 1 4 | 4 4 4 4",
    (1, 40): "1 1 2 4 | 1 n",
    (1, 50): "1 1 2 4 | 1 n",
    (1, 60): "2 | 2 n n n 1 1",
    (1, 70): "2=a | a*2",
    (1, 80): "1 1 1=a | a*1" + " n" * 16,
    (2, 10): "1 1 4 | n",
    (2, 20): "1 1 4 4 | 4 4 4 4 n n n n n n",
    (2, 30): "| 4 4 4 1 1 2 2 1 1",
    (5, 10): "1 1 |",
    (5, 20): "1 1 1 2 2 | 2 2 2 4 n n n",
    (10, 30): "1 1 1 4 | 4 4 4 n n n 1 4 4 4 4 4",
    (15, 10): "4 1 1 1 1 4 | n n 1 1 1 1 4 4 n n n n 4 4",
    (15, 15): "4 1 1 1 1 | 2=a 2=b a/2 b*4 n n 1 1 1 1 4 4 4 4 a*2 n n n n n 4 4",
    (15, 20): "4 1 1 1 | 1 4 4 4 4 4 4 2 2=a 2=b a*2 a/2 b*2 b/2 d n n n n n n n 1 d",
    (20, 10): "| n",
    (20, 20): "|",
    (50, 30): "| n",
}
KNOWN = {*FIELDS, (0, 30), (1, 62), (1, 63), (1, 90), (1, 91), (1, 92), (1, 93), (1, 94), (15, 30), (50, 10)}
SAME_HEADER = ("start", "lot", "part", "node", "type", "job", "sublot", "code", "flow", "user")


def header(data, at, order):
    """(type, first byte of the payload, byte behind the record); None where no header is left."""
    if at + 4 > len(data):
        return None
    length, typ, sub = struct.unpack_from(order + "HBB", data, at)
    return (typ, sub), at + 4, at + 4 + length


def fields_end(data, kind, begin, end, order):
    """The bytes behind each field that the payload has, and whether one of them reaches beyond its end."""
    required, optional = FIELDS[kind].split("|")
    at = begin
    counts: dict[str, int] = {}
    ends: list[int] = []
    for word in (required + optional).split():
        if at >= end:
            break
        if word == "n":
            at += 1 + data[at]
        elif word == "d":
            if at + 2 > end:
                return ends, True
            at += 2 + (struct.unpack_from(order + "H", data, at)[0] + 7) // 8
        elif word[0] in "ab":
            count = counts[word[0]]
            at += (count + 1) // 2 if word[1] == "/" else count * int(word[2:])
        else:
            size = int(word[0])
            if at + size > end:
                return ends, True
            if "=" in word:
                counts[word[-1]] = struct.unpack_from(order + {1: "B", 2: "H"}[size], data, at)[0]
            at += size
        if at > end:
            return ends, True
        ends.append(at)
    return ends, False


def is_sound(data, at, order):
    found = header(data, at, order)
    if found is None or found[0] not in FIELDS or found[2] > len(data):
        return False
    kind, begin, end = found
    ends, over = fields_end(data, kind, begin, end, order)
    needed = len(FIELDS[kind].split("|")[0].split())
    return not over and len(ends) >= needed and (ends[-1] if ends else begin) == end


def is_far(data, at):
    """In either byte order."""
    return (
        at + 6 <= len(data) and bytes(data[at : at + 2]) in (b"\x02\x00", b"\x00\x02")
        and (data[at + 2], data[at + 3]) == FAR and data[at + 5] == 4
    )  # fmt: skip


def makes_sense(data, at, order):
    """The first sound record from `at` on, else the end of the file; None where the records make no sense."""
    first, sound, known = None, 0, 0
    while at < len(data):
        found = header(data, at, order)
        if found is None:
            return None
        if is_far(data, at):
            return at if first is None else first
        kind, _, end = found
        if data[at : at + 4] == bytes(4):
            return first if not data[at:].strip(b"\0") else None
        if end > len(data):
            return first if sound >= 2 and kind in KNOWN else None
        if is_sound(data, at, order):
            sound += 1
            first = at if first is None else first
            if sound == 3 or kind == MRR:
                return first
        known += kind in KNOWN
        if known == 16:
            return end if first is None else first
        at = end
    return at if first is None else first


def resume(data, at, order):
    """The first place from `at` on where a record is sound and the records make sense; None."""
    for place in range(at, len(data) - 3):
        if (data[place + 2], data[place + 3]) not in FIELDS:
            continue
        if is_far(data, place) or (is_sound(data, place, order) and makes_sense(data, place, order) is not None):
            return place
    return None


def holds_records(data, at, end, order):
    """Whether from some byte on two or more sound records, one behind the other, end exactly at `end`."""
    for place in range(at, end - 7):
        here, count = place, 0
        while here < end and is_sound(data, here, order):
            here = header(data, here, order)[2]
            count += 1
        if here == end and count >= 2:
            return True
    return False


def header_of(data, at, order):
    """What of a MIR decides whose parts follow."""
    _, begin, end = header(data, at, order)
    payload = data[begin:end]
    start = struct.unpack_from(order + "I", payload, 4)[0] if len(payload) >= 8 else None
    texts, place = [], 15
    while place < len(payload) and place + 1 + payload[place] <= len(payload):
        texts.append(bytes(payload[place + 1 : place + 1 + payload[place]]).rstrip(b" \0"))
        place += 1 + payload[place]
    texts += [b""] * (30 - len(texts))
    lot, part, node, tester, job, _, sublot, _, _, _, code, _, user = texts[:13]
    flow = texts[23]
    return start, lot, part, node, tester, job, sublot, code, flow, user


def read_records(data, order):
    """What the walk over the records finds.

    records   (typ, sub, offset of the record's header, REC_LEN) per record
    gaps      (first byte, byte behind) of what lies between records
    position  the byte at which the walk stopped
    why       "complete", "cut", "framing", "second_far", "second_mir", "padding", "trailing" or "no_header"
    """
    records: list[Any] = []
    gaps: list[Any] = []
    at, trusted, since_gap, mir = 0, 0, 0, None

    def stop(why):
        return {"records": records, "gaps": gaps, "position": at, "why": why}

    while at < len(data):
        why = None
        found = header(data, at, order)
        if found is None:
            why = "cut"
        else:
            kind, begin, end = found
            if kind == FAR and at > 0:
                if is_far(data, at):
                    return stop("second_far")
                why = "framing"
            elif data[at : at + 4] == bytes(4):
                if not data[at:].strip(b"\0"):
                    return stop("padding")
                why = "framing"
            elif end > len(data):
                why = "cut"
            elif kind in KNOWN:
                odd = kind in FIELDS and (end - begin >= 256 or (kind == PIR and end - begin > 2))
                if odd and not is_sound(data, at, order) and holds_records(data, at + 1, end, order):
                    why = "framing"
                elif kind == MIR:
                    if mir is None and any(r[:2] in (PIR, PRR) for r in records):
                        return stop("second_mir")
                    if mir is not None and header_of(data, at, order) != header_of(data, mir, order):
                        return stop("second_mir")
                    mir = at if mir is None else mir
            elif at >= trusted:
                trusted = makes_sense(data, end, order)
                inside = at
                if len(records) > since_gap and not is_sound(data, records[-1][2], order):
                    inside = records[-1][2]
                if trusted is None or holds_records(data, inside + 1, trusted, order):
                    why, trusted = "framing", 0
        if why is None:
            records.append((*kind, at, end - begin))
            at = end
            continue
        last = records[-1][:2] if len(records) > since_gap else None
        ended = last == MRR or (last is not None and last not in KNOWN and any(r[:2] == MRR for r in records))
        damaged = at
        if last is not None and not ended and last not in (FAR, MIR) and not is_sound(data, records[-1][2], order):
            damaged = records[-1][2]
        again = resume(data, damaged + 1, order)
        if ended:
            if again is None:
                return stop("trailing")
            return stop({FAR: "second_far", MIR: "second_mir"}.get((data[again + 2], data[again + 3]), "no_header"))
        if again is None:
            return stop(why)
        if damaged < at:
            records.pop()
        gaps.append((damaged, again))
        at, trusted, since_gap = again, again, len(records)
    return stop("complete")
