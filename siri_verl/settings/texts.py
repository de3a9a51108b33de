# SPDX-License-Identifier: Apache-2.0
"""The strings under the fields of a dataclass, read from its source."""

from __future__ import annotations

import ast
import inspect
import textwrap


def field_texts(schema: type) -> dict[str, tuple[str, str]]:
    """Field -> (type as written, the string under it; empty where there is none)."""
    body = ast.parse(textwrap.dedent(inspect.getsource(schema))).body[0].body  # type: ignore[attr-defined]
    found: dict[str, tuple[str, str]] = {}
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            text = ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                text = " ".join(str(following.value.value).split())
            found[node.target.id] = (ast.unparse(node.annotation), text)
    return found
