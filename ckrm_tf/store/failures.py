"""Which failures pass: out of memory, a full disk, a file in use, a lost worker.

They say nothing of a network.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

MEMORY, ROOM, IN_USE = "out of memory", "no room on the disk", "a file in use"
# Told by the pool whose workers died (`ckrm_tf.cluster.pool`).
WORKER = "workers that died"
# Told by `ckrm_tf.store.crashes`: passes where other versions or settings of the libraries do.
CRASH = "crashes of the process"

_ERRNO = {
    errno.ENOMEM: MEMORY,
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EFBIG: ROOM,
    errno.EAGAIN: IN_USE,
    errno.EBUSY: IN_USE,
    errno.ETXTBSY: IN_USE,
}

# Libraries in C++ pass the system's words on as text. Room comes first: TensorFlow has one error
# for both.
_WORDS = {
    ROOM: ("No space left on device", "Disk quota exceeded", "File too large", "errno = 28"),
    IN_USE: ("unable to lock file", "Resource temporarily unavailable"),
    MEMORY: (
        *("ResourceExhaustedError", "RESOURCE_EXHAUSTED", "OOM when allocating"),
        *("bad_alloc", "Cannot allocate memory", "CUDA_ERROR_OUT_OF_MEMORY"),
    ),
}


def passing(error: BaseException) -> str | None:
    """What an error and its causes say of a failure that may pass, None where it may not.

    >>> passing(MemoryError()), passing(ValueError("shapes differ"))
    ('out of memory', None)
    """
    for one in causes(error):
        if isinstance(one, MemoryError):
            return MEMORY
        if isinstance(one, OSError) and one.errno in _ERRNO:
            return _ERRNO[one.errno]
        text = f"{type(one).__name__}: {one}"
        for kind, words in _WORDS.items():
            if any(word in text for word in words):
                return kind
    return None


def interrupted(error: BaseException) -> bool:
    """Whether a Ctrl-C or another end lies below an error: libraries wrap it in their own."""
    return any(isinstance(one, KeyboardInterrupt | SystemExit) for one in causes(error))


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it was raised from or during."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
