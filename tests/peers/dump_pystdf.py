"""Runs in pystdf's own environment: `dump_pystdf.py FILE RECORD,RECORD,...` prints the records that pystdf reads.

A record is a line of JSON, [name, {field: value}], without the fields before which the record stopped. Bits (`Dn`) are
left as bytes, since pystdf drops their number. The last line is ["end", why it stopped early or null].
"""

import json
import sys

from pystdf import V4  # type: ignore[import-not-found]  # only there
from pystdf.IO import Parser  # type: ignore[import-not-found]


class Lines:
    """A sink of pystdf's pipeline."""

    def after_send(self, source, data):
        kind, values = data
        fields = {k.lower(): v for k, v in zip(kind.fieldNames, values, strict=False) if v is not None}
        print(json.dumps([type(kind).__name__.upper(), fields]))


def main():
    path, names = sys.argv[1:]
    wanted = [kind for kind in V4.records if type(kind).__name__.upper() in names.split(",")]
    with open(path, "rb") as file:
        parser = Parser(recTypes=wanted, inp=file)
        parser.addSink(Lines())
        why = None
        try:
            parser.parse()
        except Exception as fault:  # whatever a peer raises is what this shows
            why = f"{type(fault).__name__}: {fault}"
    print(json.dumps(["end", why]))


if __name__ == "__main__":
    main()
