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
"""A WebShop without Java or Flask: the official files in, search that ranks like Lucene, the original's rewards out.

Imports neither verl nor torch.
"""

from siri_verl.envs.webshop.catalog import Catalog
from siri_verl.envs.webshop.goals import Goal
from siri_verl.envs.webshop.product import DataError, Product
from siri_verl.envs.webshop.reward import PurchaseScore, score_purchase

__all__ = ["Catalog", "DataError", "Goal", "Product", "PurchaseScore", "score_purchase"]
