"""Runs in Semi-ATE-STDF's own environment: `dump_semi_ate.py FILE RECORD,RECORD,...` prints the records that it reads.

The lines are those of dump_pystdf.py, but bits (`Dn`) are a list of 0 and 1.
"""

import json
import sys

from Semi_ATE.STDF import records_from_file  # type: ignore[import-not-found]  # only there


def number_of_bits(bits):
    """B*1: a list of "0" and "1", the highest bit first."""
    return int("".join(bits), 2)


def bytes_of_bits(bits):
    """B*n: the lowest bit of each byte first."""
    return [sum(1 << k for k in range(8) if bits[at + k] == "1") for at in range(0, len(bits), 8)]


def value(field):
    kind, found = field["Type"], field["Value"]
    if kind == "B*1":
        return number_of_bits(found)
    if kind == "B*n":
        return bytes_of_bits(found)
    return [int(bit) for bit in found] if kind == "D*n" else found


def main():
    path, names = sys.argv[1:]
    why = None
    try:
        for record in records_from_file(path, of_interest=names.split(",")):
            # fields behind the end of the record have their value for "missing"
            there = len(record.fields) - record.missing_fields
            fields = {k.lower(): value(f) for k, f in record.fields.items() if 3 <= f["#"] < there}
            print(json.dumps([record.id, fields]))
    except Exception as fault:  # whatever a peer raises is what this shows
        why = f"{type(fault).__name__}: {fault}"
    print(json.dumps(["end", why]))


if __name__ == "__main__":
    main()
