# SPDX-License-Identifier: Apache-2.0
"""A WebShop without Java or Flask: the official files in, search that ranks like Lucene, the original's rewards out.

Imports neither verl nor torch.
"""

from siri_verl.envs.webshop.catalog import Catalog
from siri_verl.envs.webshop.goals import Goal
from siri_verl.envs.webshop.product import DataError, Product
from siri_verl.envs.webshop.reward import PurchaseScore, score_purchase

__all__ = ["Catalog", "DataError", "Goal", "Product", "PurchaseScore", "score_purchase"]
