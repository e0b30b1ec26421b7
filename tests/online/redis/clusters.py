"""A cluster of three primaries on this machine."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.online.contract.kinds import Place, place_of_redis
from tests.online.servers import Server, free_port, program, running, wait_for


@dataclass
class Cluster:
    servers: list[Server]

    def url(self, prefix: str) -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        return f"redis+cluster://{hosts}?prefix={prefix}"

    def place(self, prefix: str) -> Place:
        return place_of_redis(self.url(prefix), [server.client() for server in self.servers])

    def names(self, prefix: str) -> list[bytes]:
        found: list[bytes] = []
        for server in self.servers:
            with server.client() as client:
                found += client.scan_iter(match=f"{prefix}:*", count=5000)
        return found

    def manage(self, *arguments: str) -> str:
        command = [program("redis-cli"), "--cluster", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def node_id(self, at: int) -> str:
        with self.servers[at].client() as client:
            return client.execute_command("CLUSTER", "MYID").decode()  # type: ignore[no-any-return]

    def reshard(self, source: int, target: int, slots: int) -> None:
        self.manage(
            "reshard", f"127.0.0.1:{self.servers[0].port}", "--cluster-from", self.node_id(source), "--cluster-to",
            self.node_id(target), "--cluster-slots", str(slots), "--cluster-yes", "--cluster-pipeline", "20",
        )  # fmt: skip


@contextmanager
def cluster_in(folder: Path) -> Iterator[Cluster]:
    servers = []
    for number in range(3):
        port = free_port(below=55000)
        options = ["--cluster-enabled", "yes", "--cluster-config-file", f"nodes{number}.conf"]
        options += ["--cluster-node-timeout", "2000"]
        servers.append(Server(folder / str(number), options, port))
    with running(*servers):
        cluster = Cluster(servers)
        cluster.manage("create", *(f"127.0.0.1:{server.port}" for server in servers), "--cluster-yes")
        for server in servers:
            with server.client() as client:
                wait_for(functools.partial(_is_ok, client))
        yield cluster


def _is_ok(client: redis.Redis) -> bool:
    told: object = client.execute_command("CLUSTER", "INFO")
    return "cluster_state:ok" in str(told) or "'cluster_state': 'ok'" in str(told)
