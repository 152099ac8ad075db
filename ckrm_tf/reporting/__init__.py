"""Pictures and reports."""

from __future__ import annotations

from ckrm_tf.reporting.write import write_report as write_report

__all__ = ["write_report"]
