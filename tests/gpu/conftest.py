# SPDX-License-Identifier: Apache-2.0
"""Tests of this folder run on every device there is: always on the CPU, on a GPU with `pytest -m gpu tests/gpu`."""

import pytest
import torch


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """Name of the device; a GPU that is not there is a skip that says so."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch.cuda finds no GPU")
    return request.param
