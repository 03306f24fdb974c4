"""What a GGUF file says of itself before its weights: architecture, settings, and what its tensors are."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAGIC = b"GGUF"
VERSIONS = (2, 3)
_PLAIN = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9


@dataclass(frozen=True)
class Tensor:
    """Shape as torch has it, ggml's number of its type, and where it begins, in bytes after the header."""

    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True)
class Header:
    """Values by their keys, of lists of texts their lengths; tensors by their names; the byte where data begin."""

    values: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    start: int

    @property
    def architecture(self) -> str:
        """What ggml calls the class of the model."""
        return str(self.values.get("general.architecture", ""))


def read(path: Path) -> Header:
    """The header of a GGUF file; no weight is read. Raises ValueError saying what is wrong with the file, OSError."""
    with path.open("rb") as file:
        begins = file.read(len(MAGIC))
        if begins != MAGIC:
            raise ValueError(f"is no GGUF file: it begins with {begins!r}")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _Reader(data).header()
            except (struct.error, IndexError, UnicodeDecodeError, RecursionError):
                raise ValueError(f"is torn: its header does not end within its {len(data)} bytes") from None


def check_whole(header: Header, size: int, sizes: Mapping[int, tuple[int, int]]) -> None:
    """Raise ValueError where a file of `size` bytes ends before its tensors do; `sizes` are values and bytes of a block
    of each type."""
    end = header.start
    for name, tensor in header.tensors.items():
        if tensor.kind not in sizes:
            raise ValueError(f"holds {name} in a type (number {tensor.kind}) that the package gguf does not know")
        values, width = sizes[tensor.kind]
        count = 1
        for length in tensor.shape:
            count *= length
        end = max(end, header.start + tensor.offset + count // values * width)
    if size < end:
        raise ValueError(f"is torn: it has {size} bytes of the {end} that its header tells of")


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._at = data, len(MAGIC)

    def header(self) -> Header:
        (version,) = self._take("I")
        if version not in VERSIONS:
            raise ValueError(f"is of GGUF's version {version}; versions {' and '.join(map(str, VERSIONS))} can be read")
        tensors, values = self._take("QQ")
        told = {}
        for _ in range(values):
            key = self._text()
            told[key] = self._value(*self._take("I"))
        held = {self._text(): self._tensor() for _ in range(tensors)}
        step = int(told.get("general.alignment", 32))
        return Header(told, held, -(-self._at // step) * step)

    def _take(self, form: str) -> tuple[Any, ...]:
        taken = struct.unpack_from(f"<{form}", self._data, self._at)
        self._at += struct.calcsize(f"<{form}")
        return taken

    def _text(self) -> str:
        (length,) = self._take("Q")
        begin, self._at = self._at, self._at + length
        if self._at > len(self._data):
            raise IndexError
        return self._data[begin : self._at].decode()

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind in _PLAIN:
            return self._take(_PLAIN[kind])[0]
        if kind != _LIST:
            raise ValueError(f"is damaged: its header holds a value of type {kind}, which there is not")
        of, count = self._take("IQ")
        if of in _PLAIN:
            return list(self._take(f"{count}{_PLAIN[of]}"))
        for _ in range(count):
            self._value(of)
        return count

    def _tensor(self) -> Tensor:
        (dimensions,) = self._take("I")
        shape = self._take(f"{dimensions}Q")
        kind, offset = self._take("IQ")
        return Tensor(tuple(reversed(shape)), kind, offset)
