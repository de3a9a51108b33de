# SPDX-License-Identifier: Apache-2.0
"""The entry point of verl.plugins: light, and loud when something is wrong."""

import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from siri_verl import failures, plugin


@pytest.fixture
def kept_failures(monkeypatch):
    kept: list = []
    monkeypatch.setattr(failures, "FAILURES", kept)
    return kept


def test_everything_registered_in_this_process():
    import verl  # noqa: F401

    assert failures.FAILURES == []
    failures.require()


def test_a_failed_registration_is_logged_kept_and_raised_again(kept_failures, caplog):
    def broken():
        raise KeyError("gone")

    with caplog.at_level(logging.ERROR, "siri_verl"):
        failures.guarded("broken", broken)
    assert "broken failed" in caplog.text and "KeyError" in caplog.text
    assert [f.name for f in kept_failures] == ["broken"]
    with pytest.raises(failures.PluginError, match="broken: KeyError"):
        failures.require()


@pytest.mark.parametrize(("version", "good"), [("0.9.1", True), ("0.9.7", True), ("0.9.0", False), ("0.10.0", False)])
def test_version_guard(monkeypatch, version, good):
    monkeypatch.setattr("importlib.metadata.version", lambda name: version)
    if good:
        plugin.check_verl_version()
    else:
        with pytest.raises(RuntimeError, match=rf"verl {version} is installed.*>=0.9.1,<0.10.*pip install"):
            plugin.check_verl_version()


def test_nothing_is_registered_with_an_unsupported_verl(monkeypatch, kept_failures):
    called = []
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.10.0")
    monkeypatch.setattr("siri_verl.registration.REGISTRATIONS", [lambda: called.append(1)])
    plugin.load()
    assert called == [] and "0.10.0" in str(kept_failures[0].error)


def test_a_failing_hook_does_not_break_the_import_it_waits_for(kept_failures, tmp_path, monkeypatch):
    from siri_verl.registration import when_imported

    (tmp_path / "siri_probe_module.py").write_text("value = 3\n")
    monkeypatch.syspath_prepend(tmp_path)

    def explode(module: SimpleNamespace) -> None:
        raise RuntimeError(f"no good: {module.value}")

    when_imported("siri_probe_module", explode)
    import siri_probe_module

    assert siri_probe_module.value == 3
    assert "no good: 3" in str(kept_failures[0].error) and "siri_probe_module" in kept_failures[0].name


def test_the_plugin_adds_next_to_nothing_to_the_import_of_verl():
    def modules(policy: str) -> set[str]:
        code = "import sys, verl; print(*sys.modules)"
        env = os.environ | {"SIRI_PLATFORM": "cpu", "VERL_USE_EXTERNAL_PLUGINS": policy, "PYTHONWARNINGS": "ignore"}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-2000:]
        return set(done.stdout.strip().splitlines()[-1].split())

    added = modules("siri") - modules("none")
    assert "siri_verl.plugin" in added
    heavy = {m for m in added if m.startswith(("verl.", "siri_verl.training", "siri_verl.rollout", "transformers"))}
    # The driver's hooks import nothing but the standard library and the lowest layer.
    assert heavy <= {"siri_verl.training", "siri_verl.training.driver"}
    assert len(added) < 40, sorted(added)


@pytest.mark.parametrize("module", ["platform.cpu", "platform.engine", "light.replica", "training.estimator"])
def test_a_module_that_the_plugin_imports_may_be_imported_before_verl(module):
    code = f"import siri_verl.{module}, siri_verl.failures as f; print([str(x.error) for x in f.FAILURES])"
    env = os.environ | {"SIRI_PLATFORM": "cpu", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().splitlines()[-1] == "[]"
