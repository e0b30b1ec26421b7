"""Files that are not STDF, by the entries of `inputs.yaml`: the same tables come out."""

from __future__ import annotations

from pathlib import Path

from fs_spark.errors import StdfError
from fs_spark.inputs.die_table import read_die_file, read_die_table
from fs_spark.inputs.layout import InputFile
from fs_spark.inputs.lot_report import Beside
from fs_spark.inputs.map_files import read_map
from fs_spark.inputs.naming import find_entry
from fs_spark.inputs.rules import DieTableEntry, InputEntry
from fs_spark.inputs.run_clock import Delivery
from fs_spark.stdf.container import DEFAULT_LIMITS, Delivered, Limits, read_delivered, unpack

__all__ = ["Beside", "Delivery", "InputFile", "files_beside", "find_entry", "read_die_table", "read_input"]


def files_beside(path: str | Path, *, limits: Limits = DEFAULT_LIMITS, follow_links: bool = False) -> Beside:
    """Reads files by their name relative to the folder of `path`, which may be a URI.

    Raises     StdfError for a link out of that folder, unless `follow_links`
    """

    def read(name: str) -> bytes:
        if "://" not in str(path):
            folder = Path(path).parent
            if not follow_links and not (folder / name).resolve().is_relative_to(folder.resolve()):
                raise StdfError(
                    f"{name} is a link out of the folder of the file. Hint: set `follow_links: true` in store.yaml"
                )
            return read_delivered(folder / name, limits=limits).data
        bare, mark, query = str(path).partition("?")
        return read_delivered(f"{bare.rpartition('/')[0]}/{name}{mark}{query}", limits=limits).data

    return read


def read_input(
    name: str,
    data: bytes | Delivered,
    entry: InputEntry,
    *,
    delivery: Delivery | None = None,
    beside: Beside | None = None,
) -> InputFile:
    """Reads one file, plain or packed, by its entry (`find_entry`). `name` is its name or path.

    `beside` reads the report of a lot, where the entry names one: `files_beside(path)`.

    Raises     StdfError where the file cannot be read as its entry says, with every fault that was found
    """
    delivered = unpack(data) if isinstance(data, bytes) else data
    if isinstance(entry, DieTableEntry):
        return read_die_file(delivered, entry, name=name, delivery=delivery)
    return read_map(delivered, entry, name=name, delivery=delivery, beside=beside)
