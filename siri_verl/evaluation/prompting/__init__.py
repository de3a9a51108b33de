# Copyright 2026 The siri_verl Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Ways to prompt a model turn by turn: plain, ReAct, Reflexion.

All keep the reply format of training, so that one reading and one format test hold for every row of a table.
"""

from siri_verl.evaluation.prompting.plain import PlainPrompting
from siri_verl.evaluation.prompting.react import ReactPrompting

PLAIN, REACT, REFLEXION = "plain", "react", "reflexion"
KINDS = (PLAIN, REACT, REFLEXION)

__all__ = ["KINDS", "PLAIN", "REACT", "REFLEXION", "PlainPrompting", "ReactPrompting"]
