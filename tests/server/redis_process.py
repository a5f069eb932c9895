"""A Redis server of the tests' own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class RedisProcess:
    """Debian's redis-server on a port and a folder of its own, every write on the disk before its answer."""

    def __init__(self, folder: Path, **more: str) -> None:
        if shutil.which("redis-server") is None:
            pytest.skip("needs redis-server, which is not installed")
        self.folder, self.port, self._bus, self._more = folder, free_port(), free_port(), more
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {
            "port": self.port,
            "cluster-port": self._bus,  # without it 10,000 above the port, which may be too high
            "bind": "127.0.0.1",
            "dir": self.folder,
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            **self._more,
        }
        arguments = [str(part) for key, value in settings.items() for part in (f"--{key}", value)]
        self.process = subprocess.Popen(["redis-server", *arguments], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as talk:
                    talk.sendall(b"PING\r\n")
                    if talk.recv(16).startswith(b"+PONG"):  # not while it reads its file
                        return
            except OSError:
                pass
            assert self.process.poll() is None, "redis-server ended"
            assert time.monotonic() < deadline, "redis-server did not start"
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it; what it keeps stays in the folder."""
        self.process.terminate()
        self.process.wait(timeout=20)
