"""A model's file as another process takes it, which may see no file of this one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class SentModel:
    """What it takes to read a model: the bytes of its file, and the module of its own layers.

    Attributes:
        name: of the file.
        content: of it.
        custom: the file, or the name of the module, that defines the model's own layers; None for
            none.
        layers: what that file holds; None where `custom` is the name of a module, which the other
            process imports.
        unsafe: whether code inside the model's file may run.

    Example:
        >>> import keras, tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp(), "net.keras")
        >>> keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]).save(path)
        >>> sent = SentModel.of(path)
        >>> path.unlink()
        >>> sent.load().output_shape
        (None, 64)
    """

    name: str
    content: bytes
    custom: str | None = None
    layers: bytes | None = None
    unsafe: bool = False

    @classmethod
    def of(
        cls, path: str | os.PathLike[str], custom: str | None = None, unsafe: bool = False
    ) -> SentModel:
        """The model of a file; arguments as for `ckrm_tf.models.load.load_model`."""
        file = Path(path).expanduser()
        layers = None
        if custom is not None and custom.endswith(".py"):
            own = Path(custom).expanduser()
            custom, layers = own.name, own.read_bytes()
        return cls(file.name, file.read_bytes(), custom, layers, unsafe)

    def load(self) -> keras.Model:
        """The model.

        Raises:
            CKRMError: as `ckrm_tf.models.load.load_model`.
        """
        from ckrm_tf.models.load import load_model  # noqa: PLC0415 - needs Keras

        with TemporaryDirectory(prefix="ckrm-model-") as folder:
            file, custom = Path(folder, self.name), self.custom
            file.write_bytes(self.content)
            if custom is not None and self.layers is not None:
                # A folder of its own: the files may have one name.
                own = Path(folder, "layers", custom)
                own.parent.mkdir()
                own.write_bytes(self.layers)
                custom = str(own)
            return load_model(file, custom=custom, unsafe=self.unsafe)
