"""A real redis-server on this machine, started, stopped and killed by tests."""

import os
import shutil
import signal
import socket
import subprocess
import time

import pytest
import redis


class RedisServer:
    """A server on a free port of 127.0.0.1; nothing is kept on the disk."""

    def __init__(self, folder):
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self._folder, self._process = folder, None
        self.start()

    def start(self):
        command = [shutil.which("redis-server") or pytest.fail("redis-server is not installed: see .ci/run")]
        command += ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return
            except redis.exceptions.ConnectionError:
                assert time.monotonic() < end
                time.sleep(0.02)

    def client(self):
        return redis.Redis(port=self.port, decode_responses=True)

    def hash(self, key):
        with self.client() as client:
            return client.hgetall(key)

    def calls(self):
        """How often each command was carried out."""
        with self.client() as client:
            return {k.removeprefix("cmdstat_"): v["calls"] for k, v in client.info("commandstats").items()}

    def freeze(self):
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self):
        if self._process.poll() is None:
            self.thaw()
        self._process.kill()
        self._process.wait()
