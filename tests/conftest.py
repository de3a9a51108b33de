# SPDX-License-Identifier: Apache-2.0
"""What tests of several folders share."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support.start_ray import start_ray

# Tables and messages are as wide with a terminal as without one.
os.environ["COLUMNS"] = "200"

# How long an example takes says more about the machine than about the code.
settings.register_profile("any_machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any_machine")


@pytest.fixture(scope="module")
def transfer_queue():
    """A Ray of this machine with verl's TransferQueue; the module `transfer_queue`, connected."""
    import ray
    import transfer_queue as tq
    from omegaconf import OmegaConf

    # Ray's workers import `support` and the modules of tests/rollout from there.
    folders = Path(__file__).parent, Path(__file__).parent / "rollout"
    env_vars = {"PYTHONPATH": os.pathsep.join(map(str, folders)), "OMP_NUM_THREADS": "1"}
    # Logical CPUs: each storage unit and worker asks for one.
    start_ray(num_cpus=8, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": env_vars})
    backend = {"storage_backend": "SimpleStorage", "SimpleStorage": {"num_data_storage_units": 1}}
    tq.init(OmegaConf.create({"backend": backend}))
    yield tq
    tq.close()
    ray.shutdown()
