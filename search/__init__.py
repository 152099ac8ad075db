"""The commands: run, measure, compare."""

import os

# TensorFlow reads it when it is imported; its start-up notes would bury the tool's own lines.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
