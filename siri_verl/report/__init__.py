# SPDX-License-Identifier: Apache-2.0
"""One page about one or more runs: `siri-verl report RUN...`, docs/evaluation.md.

runs -> methods -> statistics -> pictures -> page
"""
