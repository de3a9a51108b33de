# SPDX-License-Identifier: Apache-2.0
"""Ways to prompt a model turn by turn: plain, ReAct, Reflexion.

All keep the reply format of training, so that one reading and one format test hold for every row of a table.
"""

from siri_verl.evaluation.prompting.plain import PlainPrompting
from siri_verl.evaluation.prompting.react import ReactPrompting

__all__ = ["PlainPrompting", "ReactPrompting"]
