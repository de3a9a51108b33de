# SPDX-License-Identifier: Apache-2.0
"""One page about one or more runs: `siri-verl report RUN...`, docs/evaluation.md.

runs -> methods -> statistics -> pictures -> page
"""

from siri_verl.report.build import ReportOptions, write_report

__all__ = ["ReportOptions", "write_report"]
