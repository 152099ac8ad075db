"""The chosen network as files that work without this package, checked in a fresh process."""

from ckrm_tf.export.inference import inference_model
from ckrm_tf.export.write import ExportReport, export_model

__all__ = ["ExportReport", "export_model", "inference_model"]
