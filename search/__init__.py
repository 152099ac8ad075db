"""The commands: run, measure, narrow, cost, compare, final."""

import os
import sys

from search.bits import wants_equal_bits
from search.quiet import import_quietly
from search.stopping import stop_at_once

# TensorFlow reads both when it is imported; its start-up notes would bury the tool's own lines.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A GPU's memory is taken as it is needed; TensorFlow would take all of it at once.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
# On AMD processors TensorFlow leaves oneDNN off: its own gradient of a wide convolution over small
# feature maps packs the kernel anew for every image, which is two thirds of a ResNet-50's step.
# With --deterministic it stays off: see `ckrm_tf.train.deterministic`.
EQUAL_BITS = wants_equal_bits(sys.argv[1:])
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0" if EQUAL_BITS else "1")
if EQUAL_BITS:
    # The Cholesky factors of slices have other last bits on another number of threads, from 128
    # channels on; a worker has one. Read when NumPy is imported.
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")

# What Python calls a program while it looks for the module of `python -m search.COMMAND`: the
# command has begun, and its imports take seconds.
if sys.argv[:1] == ["-m"]:
    stop_at_once()
    # A report shows what is there already.
    if not any(word == "search.report" for word in sys.orig_argv):
        import_quietly()
