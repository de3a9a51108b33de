# SPDX-License-Identifier: Apache-2.0
"""siri_verl: SIRI (arXiv 2606.02355) as a plugin for unmodified verl."""

__version__ = "0.1.0"
