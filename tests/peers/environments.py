"""Other readers of STDF, each in an environment of its own, which is made when it is first needed."""

from __future__ import annotations

import json
import subprocess
import tempfile
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Peer:
    """A reader: its requirement for pip, the script that prints its records, and what it makes of bits and blanks."""

    requirement: str
    script: str
    counts_bits: bool
    strips_texts: bool

    @property
    def name(self) -> str:
        return self.requirement.replace("==", " ")


PEERS = (
    Peer("pystdf==1.4.0", "dump_pystdf.py", counts_bits=False, strips_texts=False),
    Peer("Semi-ATE-STDF==0.1.28", "dump_semi_ate.py", counts_bits=True, strips_texts=True),
)


def python_of(peer: Peer, folder: Path | None) -> Path:
    """The interpreter of a peer's environment in `folder` (None: in the folder for temporary files)."""
    home = (folder or Path(tempfile.gettempdir())) / f"fs_spark_peer_{peer.requirement.split('==')[0]}"
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", peer.requirement], check=True)
    return python


@dataclass
class Dump:
    """The records that a peer reads from a file, one after the other; `failure` is known when they have all come."""

    peer: Peer
    python: Path
    path: Path
    kinds: Sequence[str]
    failure: str | None = field(default=None, init=False)
    count: int = field(default=0, init=False)

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        command = [str(self.python), str(HERE / self.peer.script), str(self.path), ",".join(self.kinds)]
        # warnings go to a file: a pipe that nobody empties would stop the peer
        with (
            tempfile.TemporaryFile("w+") as told,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=told, text=True) as run,
        ):
            assert run.stdout is not None
            ended = False
            for line in run.stdout:
                name, fields = json.loads(line)
                if name == "end":
                    self.failure, ended = fields, True
                    continue
                self.count += 1
                yield name, fields
            if not ended:
                told.seek(0)
                self.failure = (told.read().splitlines() or [f"exit code {run.wait()}"])[-1]
