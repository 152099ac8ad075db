"""Networks as files that work without this package, each read back and compared."""

from ckrm_tf.export.files import FilesReport, export_files
from ckrm_tf.export.inference import inference_model
from ckrm_tf.export.judge import Judge
from ckrm_tf.export.write import ExportReport, export_model

__all__ = [
    "ExportReport",
    "FilesReport",
    "Judge",
    "export_files",
    "export_model",
    "inference_model",
]
