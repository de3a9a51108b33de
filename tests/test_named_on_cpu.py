# SPDX-License-Identifier: Apache-2.0
"""Parts named by a table or by the path of a function."""

import math
import sys

import pytest

from siri_verl.failures import ConfigError
from siri_verl.named import check_name_or_path, named

TABLE = {"one": abs, "two": len}


def test_a_name_or_a_path_is_found():
    assert named("a.b", "two", TABLE) is len
    assert named("a.b", "math:floor", TABLE) is math.floor


@pytest.mark.parametrize("value", ["three", "math", "math.floor", "math:", ":floor", "a:b:c", "my math:floor"])
def test_what_is_neither_is_refused_without_an_import(value):
    with pytest.raises(ConfigError, match="a.b=.*: use one, two, or a path package.module:function"):
        check_name_or_path("a.b", value, TABLE)
    check_name_or_path("a.b", "no_such_module:function", TABLE)
    assert "no_such_module" not in sys.modules


@pytest.mark.parametrize(
    "value, says",
    [("no_such_module:f", "cannot be imported"), ("math:f", "cannot be imported"), ("math:pi", "float")],
)
def test_what_cannot_be_called_is_refused(value, says):
    with pytest.raises(ConfigError, match=rf"a.b='{value}': .*{says}"):
        named("a.b", value, TABLE)
