"""CPU seconds to measure the standard ResNet-50 exactly, four ways, in one run.

    python benchmarks/measure_speed.py            (KERAS_BACKEND=jax for the other backend)

All 17 k x k kernels, freshly initialised: every pair, every channel. CPU seconds are those of the
process over all its threads; the scalar loop is timed on a sample of pairs and extrapolated.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from ckrm_tf.families.widths import Widths
from ckrm_tf.measures.similarity import ALPHA, kernel_similarity, psi, resolve_epsilon

REPEATS = 3
SCALAR_PAIRS = 20
NUMPY_ROWS = 128
FLAGS = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
# Arithmetic of one slice pair beside the covariance; log and exp counted as 15 each.
OTHER_FLOPS = 50

# Channels last, so that every inner loop runs over contiguous floats and is vectorised.
LOOP = r"""
#include <math.h>
void omega(const float *restrict a, const float *restrict m, const float *restrict v,
           const float *restrict s, int f2, int f1, int n, float e, float *restrict cov,
           float *restrict out) {
  for (long i = 0; i < f2; i++)
    for (long j = i + 1; j < f2; j++) {
      const float *mx = m + i * f1, *my = m + j * f1, *vx = v + i * f1, *vy = v + j * f1;
      const float *sx = s + i * f1, *sy = s + j * f1;
      for (int c = 0; c < f1; c++) cov[c] = 0;
      for (int k = 0; k < n; k++) {
        const float *x = a + (i * n + k) * f1, *y = a + (j * n + k) * f1;
        for (int c = 0; c < f1; c++) cov[c] += x[c] * y[c];
      }
      float total = 0;
      for (int c = 0; c < f1; c++) {
        float p = sx[c] * sy[c];
        float l = fabsf((2 * mx[c] * my[c] + e) / (mx[c] * mx[c] + my[c] * my[c] + e));
        total += expf(ALPHA * logf(l + 1e-37f)) * ((2 * p + e) / (vx[c] + vy[c] + e))
                 * fabsf((cov[c] + e) / (p + e));
      }
      *out++ = total / f1;
    }
}
"""


def kernels() -> list[np.ndarray]:
    widths = Widths.standard()
    shapes = [(7, 7, 1, widths.stem)]
    for stage in widths.stages:
        shapes += [(3, 3, stage.mid, stage.mid)] * stage.blocks
    return [
        np.asarray(keras.initializers.GlorotUniform(seed=n)(shape))
        for n, shape in enumerate(shapes)
    ]


def moments(kernel: np.ndarray) -> tuple[np.ndarray, ...]:
    """Centred slices (n, F1, F2) over sqrt(n), means, variances, deviations, as float32."""
    slices = kernel.reshape(-1, *kernel.shape[-2:])
    mean = slices.mean(0)
    centred = (slices - mean) / math.sqrt(len(slices))
    variance = np.sum(centred**2, 0)
    return centred, mean, variance, np.sqrt(variance)


def scalar(kernel: np.ndarray, rng: np.random.Generator) -> float:
    """CPU seconds for all pairs by calls of `psi`, from a sample of slice pairs."""
    filters = kernel.shape[-1]
    epsilon = resolve_epsilon(kernel.shape, None)
    started = time.process_time()
    for _ in range(SCALAR_PAIRS):
        i, j = rng.choice(filters, 2, replace=False)
        c = rng.integers(kernel.shape[-2])
        psi(kernel[..., c, i], kernel[..., c, j], epsilon)
    each = (time.process_time() - started) / SCALAR_PAIRS
    return each * filters * (filters - 1) / 2 * kernel.shape[-2]


def numpy_blocks(kernel: np.ndarray) -> np.ndarray:
    """Gram products by NumPy, a block of rows against all later kernels, channel by channel."""
    centred, mean, variance, deviation = (m.astype(np.float32) for m in moments(kernel))
    e = np.float32(resolve_epsilon(kernel.shape, None))
    f1, f2 = mean.shape
    result = np.zeros((f2, f2), np.float32)
    for start in range(0, f2, NUMPY_ROWS):
        x = slice(start, start + NUMPY_ROWS)
        for c in range(f1):
            mx, my = mean[c, x, None], mean[c, start:]
            product = deviation[c, x, None] * deviation[c, start:]
            covariance = centred[:, c, x].T @ centred[:, c, start:]
            luminance = (2 * mx * my + e) / (mx**2 + my**2 + e)
            contrast = (2 * product + e) / (variance[c, x, None] + variance[c, start:] + e)
            structure = (covariance + e) / (product + e)
            # As in the others: NumPy vectorises exp and log, but not the power.
            weight = np.exp(np.float32(ALPHA) * np.log(np.abs(luminance) + np.float32(1e-37)))
            result[x, start:] += weight * contrast * np.abs(structure)
    return result[np.triu_indices(f2, 1)] / f1


def compile_loop(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    source, library = folder / "omega.c", folder / "omega.so"
    source.write_text(LOOP)
    # libmvec gives expf and logf for whole vectors; without it the loop stays scalar.
    command = ["cc", *FLAGS, f"-DALPHA={ALPHA}f", str(source), "-o", str(library), "-lmvec", "-lm"]
    subprocess.run(command, check=True)
    function = ctypes.CDLL(str(library)).omega
    array = np.ctypeslib.ndpointer(np.float32, flags="C_CONTIGUOUS")
    function.argtypes = [*[array] * 4, *[ctypes.c_int] * 3, ctypes.c_float, array, array]

    def run(kernel: np.ndarray) -> np.ndarray:
        centred, mean, variance, deviation = moments(kernel)
        n, f1, f2 = centred.shape
        arrays = [
            np.ascontiguousarray(array, np.float32)
            for array in (centred.transpose(2, 0, 1), mean.T, variance.T, deviation.T)
        ]
        result = np.empty(f2 * (f2 - 1) // 2, np.float32)
        epsilon = resolve_epsilon(kernel.shape, None)
        function(*arrays, f2, f1, n, epsilon, np.empty(f1, np.float32), result)
        return result

    return run


def ours(kernel: np.ndarray) -> np.ndarray:
    return kernel_similarity(kernel)[np.triu_indices(kernel.shape[-1], 1)]


def clock(
    function: Callable[[np.ndarray], np.ndarray], arrays: list[np.ndarray], repeats: int = REPEATS
) -> np.ndarray:
    """(first, median of the others) x (CPU seconds, wall seconds) over all arrays."""
    times = []
    for _ in range(repeats + 1):
        cpu, wall = time.process_time(), time.perf_counter()
        for array in arrays:
            function(array)
        times.append((time.process_time() - cpu, time.perf_counter() - wall))
    return np.array([times[0], np.median(times[1:], axis=0)])


def machine() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    python = f"Python {platform.python_version()}"
    return f"{name or platform.processor()}, {os.cpu_count()} cores, {python}"


def main() -> None:
    arrays = kernels()
    rng = np.random.default_rng(0)
    pairs = sum(math.comb(k.shape[-1], 2) * k.shape[-2] for k in arrays)
    flops = sum(
        math.comb(k.shape[-1], 2) * k.shape[-2] * (2 * math.prod(k.shape[:-2]) + OTHER_FLOPS)
        for k in arrays
    )
    touched = sum(k.nbytes + 4 * k.shape[-1] ** 2 for k in arrays)
    backend = keras.backend.backend()
    print(f"{len(arrays)} kernels of ResNet-50, {pairs / 1e6:.0f} million slice pairs; {machine()}")
    print(f"floor: {flops / 1e9:.1f} Gflop of float32, {touched / 1e6:.0f} MB in and out")
    print(f"{'':34}{'CPU s, first':>13}{'CPU s':>9}{'wall s':>9}{'Gflop/CPU s':>13}")
    print(f"{'scalar loop, extrapolated':34}{'':13}{sum(scalar(k, rng) for k in arrays):9.0f}")
    with tempfile.TemporaryDirectory() as folder:
        loop = compile_loop(Path(folder))
        rows: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "NumPy, blocks": numpy_blocks,
            "C loop over i < j, -O3, 1 thread": loop,
            f"ckrm_tf ({backend})": ours,
        }
        for name, function in rows.items():
            (first, _), (cpu, wall) = clock(
                function, arrays, repeats=1 if function is numpy_blocks else REPEATS
            )
            print(f"{name:34}{first:13.2f}{cpu:9.2f}{wall:9.2f}{flops / 1e9 / cpu:13.1f}")
        gaps = [np.abs(loop(k) - ours(k)).max() for k in arrays[::4]]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"median of {REPEATS} after the first (NumPy: the second)")
    print(f"greatest difference between the C loop and ckrm_tf {max(gaps):.1e}")
    print(f"peak memory of the process {peak:.0f} MB; F1 x F2 x F2 at once would take 537 MB more")


if __name__ == "__main__":
    main()
