# SPDX-License-Identifier: Apache-2.0
"""Forks Ray's workers from one process that has imported what they all import.

A run on a CPU has some ten worker processes, each of which imports torch, tensordict and verl: 6 to 15 CPU seconds
each. Forked workers share these imports, and their memory. Nothing that starts a thread happens before a fork.

    python -m siri_verl.forked_workers.server SOCKET RAYLET_PID

It ends when the raylet has ended.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODULES = (
    "ray",
    "transfer_queue",
    "verl.trainer.main_ppo",
    "verl.workers.engine_workers",
    "verl.experimental.reward_loop",
    "siri_verl.rollout.worker",
    "siri_verl.training.trainer",
    "siri_verl.light.replica",
    "siri_verl.light.server",
)
"""What the workers of a run import, together."""
FORK_SAFE = ("jemalloc_bg_thd",)
"""pyarrow's allocator starts a thread and prepares it for forks by handlers of its own (`jemalloc_prefork`)."""
POLL_SECONDS = 1.0


@dataclass
class Worker:
    """A forked worker and the connection of its client."""

    pid: int
    client: socket.socket


class WorkerServer:
    """Listens at `path` until the process `raylet` ends."""

    def __init__(self, path: Path, raylet: int):
        self.path, self.raylet = path, raylet
        self.workers: dict[int, Worker] = {}
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def serve(self) -> dict[str, Any] | None:
        """Fork a worker per request. Returns None in the server, and a worker's request in each worker."""
        self.path.unlink(missing_ok=True)
        self.listener.bind(str(self.path))
        self.listener.listen(128)
        wake, wakes = socket.socketpair()
        for end in (wake, wakes):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        for ready in (self.listener, wake):
            self.selector.register(ready, selectors.EVENT_READ)
        while alive(self.raylet):
            for key, _ in self.selector.select(POLL_SECONDS):
                if key.fileobj is self.listener:
                    request = self._accept()
                    if request is not None:
                        return request
                elif key.fileobj is wake:
                    with contextlib.suppress(BlockingIOError):
                        wake.recv(4096)
                    self._reap()
                else:
                    self._client_ended(key.fileobj)
        for path in (self.path, Path(f"{self.path}.lock"), Path(f"{self.path}.log")):
            path.unlink(missing_ok=True)
        return None

    def _accept(self) -> dict[str, Any] | None:
        """Serve one client: None in the server, the request in the worker."""
        client, _ = self.listener.accept()
        try:
            head, streams, _, _ = socket.recv_fds(client, 8, 3)
            length, data = int.from_bytes(head, "big"), b""
            while len(data) < length:
                part = client.recv(length - len(data))
                if not part:
                    raise ConnectionError("the client ended")
                data += part
            request = json.loads(data)
        except (OSError, ValueError):
            client.close()
            return None
        pid = os.fork()
        if pid == 0:
            self._become_worker(client, streams)
            return request
        for stream in streams:
            os.close(stream)
        self.workers[pid] = Worker(pid, client)
        self.selector.register(client, selectors.EVENT_READ)
        return None

    def _become_worker(self, client: socket.socket, streams: list[int]) -> None:
        """Drop what belongs to the server; take the client's streams."""
        # Ray kills a worker's process group with it.
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.selector.close()
        for open_socket in (self.listener, client, *(worker.client for worker in self.workers.values())):
            open_socket.close()
        self.workers.clear()
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
            os.close(stream)

    def _reap(self) -> None:
        """Report workers that have ended to their clients."""
        for worker in list(self.workers.values()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                with contextlib.suppress(OSError):
                    worker.client.sendall(str(code if code >= 0 else 128 - code).encode())
                self._forget(worker)

    def _client_ended(self, client: Any) -> None:
        """A client that ended was killed by Ray, and its worker with it."""
        worker = next((w for w in self.workers.values() if w.client is client), None)
        if worker is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)
            self.selector.unregister(client)

    def _forget(self, worker: Worker) -> None:
        with contextlib.suppress(KeyError):
            self.selector.unregister(worker.client)
        worker.client.close()
        del self.workers[worker.pid]


def alive(pid: int) -> bool:
    """Whether a process of this user exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def threads() -> list[str]:
    """Names of this process's threads beside its first, without those that expect forks (where /proc has them)."""
    tasks = Path("/proc/self/task")
    others = [task for task in tasks.iterdir() if task.name != str(os.getpid())] if tasks.is_dir() else []
    names = [(task / "comm").read_text().strip() for task in others]
    return sorted(name for name in names if name not in FORK_SAFE)


def start_worker(request: dict[str, Any]) -> None:
    """Run the request's script as Python would have started it."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    script = next(word for word in request["argv"] if not word.startswith("-"))
    sys.argv = request["argv"][request["argv"].index(script) :]
    sys.path[0] = str(Path(script).parent)
    if "numpy" in sys.modules:
        # Fresh processes differ in numpy's global generator; torch's default seed is the same everywhere.
        sys.modules["numpy"].random.seed()
    runpy.run_path(script, run_name="__main__")


def main() -> None:
    path, raylet = Path(sys.argv[1]), int(sys.argv[2])
    for name in MODULES:
        importlib.import_module(name)
    found = threads()
    if found:
        sys.exit(f"threads after the imports: {', '.join(found)}; a process with threads cannot be forked safely")
    gc.collect()
    gc.freeze()
    request = WorkerServer(path, raylet).serve()
    if request is not None:
        start_worker(request)


if __name__ == "__main__":
    main()
