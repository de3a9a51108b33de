# SPDX-License-Identifier: Apache-2.0
"""Ray on this machine, for tests."""


def start_ray(**settings):
    """`ray.init`, which waits at most 30 seconds for its processes; a busy machine may need a second try."""
    import ray

    for last in (False, False, True):
        try:
            return ray.init(**settings)
        except Exception as error:
            ray.shutdown()
            if last or "timed out during startup" not in str(error):
                raise
