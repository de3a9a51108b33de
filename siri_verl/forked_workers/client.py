# SPDX-License-Identifier: Apache-2.0
"""What Ray starts in place of Python (`runtime_env.py_executable`): it asks for a forked worker and waits for its end.

Runs by path, with the standard library alone. The process that forks is siri_verl/forked_workers/server.py; the first
client of a raylet starts it. Where it cannot be started, the worker starts as Ray starts it, and stderr says why.
"""

import fcntl
import hashlib
import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MARK = "siri_verl.forked_workers"
SERVER = "siri_verl.forked_workers.server"
START_SECONDS = 600.0


def runtime_env_hook(runtime_env: "dict | None") -> "dict | None":
    """Ray's hook (RAY_RUNTIME_ENV_HOOK), called by `ray.init`: `py_executable: siri_verl.forked_workers` becomes the
    command of this file. verl hands `ray_kwargs.ray_init.runtime_env` to Ray without resolving interpolations
    (verl/trainer/main_ppo.py, `run_ppo`)."""
    if runtime_env is None or runtime_env.get("py_executable") != MARK:
        return runtime_env
    return {**runtime_env, "py_executable": shlex.join([sys.executable, "-S", "-E", str(Path(__file__).resolve())])}


def folder() -> Path:
    """Where the sockets of this user's servers are; readable by the user alone."""
    path = Path(tempfile.gettempdir()) / f"siri_verl_workers_{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.stat().st_uid != os.getuid() or path.stat().st_mode & 0o077:
        raise PermissionError(f"{path}: must belong to this user alone; remove it")
    return path


def address(raylet: int) -> Path:
    """The socket of a raylet's server: workers of one raylet share code and settings of the interpreter."""
    words = (sys.executable, os.environ.get("PYTHONPATH", ""), os.getcwd())
    return folder() / f"{raylet}_{hashlib.sha256(repr(words).encode()).hexdigest()[:8]}"


def connect(path: Path) -> socket.socket | None:
    """A connection, or None where nobody listens."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.connect(str(path))
    except OSError:
        client.close()
        return None
    return client


def connect_or_start(path: Path, raylet: int) -> socket.socket:
    """A connection to the server, which the first client starts and the others wait for.

    Raises:
        RuntimeError: it ended, or is not ready in time.
    """
    found = connect(path)
    if found is not None:
        return found
    with open(os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR, 0o600), "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = connect(path)
        if found is not None:
            return found
        with open(f"{path}.log", "wb") as log:
            server = subprocess.Popen(
                [sys.executable, "-m", SERVER, str(path), str(raylet)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            found = connect(path)
            if found is not None:
                return found
            if server.poll() is not None:
                raise RuntimeError(f"the server ended with {server.returncode}; see {path}.log")
            time.sleep(0.05)
        raise RuntimeError(f"the server was not ready after {START_SECONDS:.0f} s; see {path}.log")


def run(server: socket.socket) -> int:
    """Have a worker forked with this process's arguments, environment, folder and streams; returns its exit code."""
    request = {"argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}
    data = json.dumps(request).encode()
    socket.send_fds(server, [len(data).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(data)
    answer = server.recv(64)
    return int(answer) if answer else 1


def main() -> None:
    raylet = os.getppid()
    try:
        server = connect_or_start(address(raylet), raylet)
    except (OSError, RuntimeError) as error:
        print(f"siri_verl: this worker is not forked from a prepared process: {error}", file=sys.stderr, flush=True)
        os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
    sys.exit(run(server))


if __name__ == "__main__":
    main()
