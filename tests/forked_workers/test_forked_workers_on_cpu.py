# SPDX-License-Identifier: Apache-2.0
"""Workers forked from a prepared process behave as if Python had started them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from siri_verl.forked_workers import client

SERVER = """
import sys
from siri_verl.forked_workers import server
server.MODULES = ("wave",)
server.main()
"""
SCRIPT = """
import os, sys, time
print("argv", sys.argv[1:], "dir", sys.path[0] == os.path.dirname(__file__), "cwd", os.getcwd())
print("env", os.environ["WORKER"], "imported", "wave" in sys.modules, "name", __name__)
print("parent", os.getppid(), "group", os.getpgid(0) == os.getpid(), flush=True)
time.sleep(float(sys.argv[1]))
sys.exit(int(sys.argv[2]))
"""


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


@pytest.fixture
def raylet(tmp_path):
    """A process that stands for the raylet, with a server of its own; gives (its pid, the socket, start)."""
    stands = subprocess.Popen(["sleep", "1000"])
    folder = tmp_path / f"siri_verl_workers_{os.getuid()}"
    folder.mkdir(mode=0o700)
    path, log = folder / "socket", (tmp_path / "log").open("wb")
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(path), str(stands.pid)], stderr=log)
    wait_for(lambda: client.connect(path) is not None)
    script = tmp_path / "worker.py"
    script.write_text(SCRIPT)
    call = (
        f"from siri_verl.forked_workers import client; import sys; sys.exit(client.run(client.connect({str(path)!r})))"
    )

    def start(seconds, code, **env):
        command = [sys.executable, "-c", call, str(script), str(seconds), str(code)]
        environment = {**os.environ, **env}
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)

    yield stands, path, server, start
    stands.kill()
    stands.wait()
    server.wait(timeout=30)


def test_a_worker_has_its_clients_arguments_environment_streams_and_exit_code(raylet, tmp_path):
    _, _, server, start = raylet
    first, second = start(0, 7, WORKER="one"), start(0, 0, WORKER="two")
    for worker, name, code in ((first, "one", 7), (second, "two", 0)):
        out, _ = worker.communicate(timeout=30)
        assert worker.returncode == code
        assert f"argv ['0', '{code}'] dir True cwd {tmp_path}" in out
        assert f"env {name} imported True name __main__" in out
        assert f"parent {server.pid} group True" in out


def test_a_worker_ends_with_its_client_and_the_server_serves_on(raylet):
    _, _, server, start = raylet
    worker = start(1000, 0, WORKER="one")
    for _ in range(3):
        line = worker.stdout.readline()
    assert line.startswith("parent")
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    assert len(children.read_text().split()) == 1
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    wait_for(lambda: not children.read_text().split())
    later = start(0, 0, WORKER="two")
    assert "env two" in later.communicate(timeout=30)[0] and later.returncode == 0


def test_the_server_ends_with_the_raylet_and_leaves_nothing(raylet):
    stands, path, server, _ = raylet
    stands.kill()
    stands.wait()
    assert server.wait(timeout=30) == 0
    assert not list(path.parent.iterdir())


def test_the_first_client_starts_a_server_and_a_broken_one_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "SERVER", "siri_verl.no_such_module")
    with pytest.raises(RuntimeError, match=r"the server ended with 1; see .*socket\.log"):
        client.connect_or_start(tmp_path / "socket", os.getpid())
    assert "no_such_module" in (tmp_path / "socket.log").read_text()


def test_sockets_are_their_users_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(client.tempfile, "gettempdir", lambda: str(tmp_path))
    assert client.folder().stat().st_mode & 0o777 == 0o700
    client.folder().chmod(0o755)
    with pytest.raises(PermissionError, match="must belong to this user alone"):
        client.folder()


def test_rays_hook_puts_the_command_in_place_of_the_mark():
    import verl  # noqa: F401
    from ray._common.utils import load_class
    from ray._private import ray_constants

    name = os.environ[ray_constants.RAY_RUNTIME_ENV_HOOK]  # set by the plugin, which `import verl` loads
    hook = load_class(name)
    made = hook({"py_executable": "siri_verl.forked_workers", "env_vars": {"A": "1"}})
    assert made["py_executable"].split() == [sys.executable, "-S", "-E", client.__file__] and made["env_vars"] == {
        "A": "1"
    }
    assert hook(None) is None and hook({"py_executable": "other"}) == {"py_executable": "other"}
