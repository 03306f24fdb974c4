"""GGUF files for tests: a tiny model written as one, and files made from it that are other than they should be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alignpro.config import PrompterSettings, Sampling
from alignpro.export import gguf as exported
from alignpro.models.local import load_prompter


def save_gguf(model: Path, folder: Path, precision: exported.Precision = "float32", **sampling: Any) -> Path:
    """The model in a folder as a GGUF file in another, by what `alignpro export --gguf` writes."""
    settings = PrompterSettings(model=str(model), template="{prompt}", sampling=Sampling(max_new_tokens=8, **sampling))
    folder.mkdir(parents=True, exist_ok=True)
    exported.write(load_prompter(settings, dtype="float32").lm, folder, precision)
    return folder / exported.FILE


def rewritten(
    file: Path,
    out: Path,
    values: Mapping[str, Any] | None = None,
    tensors: Callable[[str, Any], Any] = lambda name, data: data,
    more: Mapping[str, Any] | None = None,
) -> Path:
    """A copy by the package gguf itself, with other values, and with what `tensors` makes of each: an array, (blocks,
    type) where it is quantised, or None."""
    import gguf

    out.parent.mkdir(parents=True, exist_ok=True)
    read, values = gguf.GGUFReader(file), dict(values or {})
    writer = gguf.GGUFWriter(out, values.pop("general.architecture", read.fields["general.architecture"].contents()))
    for name, field in read.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value = values.pop(name, field.contents())
        kind = field.types[0]
        if kind == gguf.GGUFValueType.ARRAY:
            writer.add_array(name, value)
        else:
            writer.add_key_value(name, value, kind)
    for name, value in values.items():
        add = {str: writer.add_string, float: writer.add_float32, int: writer.add_uint32}[type(value)]
        add(name, value)
    held = {one.name: np.array(one.data) for one in read.tensors}
    for name, data in [*held.items(), *(more or {}).items()]:
        made = tensors(name, data)
        if isinstance(made, tuple):
            writer.add_tensor(name, made[0], raw_dtype=made[1])
        elif made is not None:
            writer.add_tensor(name, made)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out
