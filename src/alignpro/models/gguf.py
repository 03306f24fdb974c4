"""GGUF files, which llama.cpp and Ollama read: read here by transformers, once, and kept as a plain folder."""

from __future__ import annotations

import copy
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from alignpro.errors import ModelNotUsable, RunFailure
from alignpro.models import checksums, gguf_header
from alignpro.models.gguf_header import Header
from alignpro.models.packaged import GGUF, WEIGHTS
from alignpro.runtime import files, packages, processes
from alignpro.runtime.digests import Digests
from alignpro.runtime.progress import Progress

EXTRA = "pip install 'alignpro[gguf]'"
FORM = 1
"""Of the folders that are kept; another number makes them anew."""
ROPE = "rope_freqs.weight"
"""Factors of Llama 3's rotary embeddings, which transformers does not read."""
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
DIGITS = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b")
"""Rules by which texts are cut before merges, that cut single digits off, then as GPT-2."""
AS_GPT2 = ("gpt-2", "default", "phi-2", "olmo", "mpt", "jais", "trillion", "mellum", "modern-bert")
SAMPLING = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_repeat": "repetition_penalty",
}
"""What a file recommends, under general.sampling, by its names in a generation_config."""
_HALVES = {1: torch.float16, 30: torch.bfloat16}
_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf\Z")
FloatArray = npt.NDArray[np.float32]
_FAULTS = (ValueError, KeyError, RuntimeError, ImportError, TypeError, IndexError)


def inside(folder: Path, where: str) -> Path | None:
    """The GGUF file of a folder without weights of another form; None where it has such, or no GGUF file.

    Raises ModelNotUsable where there are several; `where` names setting and model in errors here.
    """
    held = sorted(path for path in folder.iterdir() if path.is_file())
    found = [path for path in held if path.suffix == GGUF]
    if not found or any(path.suffix in WEIGHTS for path in held):
        return None
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ModelNotUsable(f"{where}: the folder holds {len(found)} models: {names}. Choose one, as {found[0]}")
    return found[0]


def plain(file: Path, where: str) -> Path:
    """A folder with the same weights, tokenizer and recommended sampling, made where there is none of this file yet.

    Raises ModelNotUsable for what is no GGUF file, is torn, of an architecture that transformers does not read, or
    holds what transformers would leave out; RunFailure where the folder cannot be written.
    """
    return processes.by_first(lambda: _plain(file, where))


def check(file: Path, where: str) -> None:
    """Raise ModelNotUsable for what the header of a file tells against it; a file that was read before passes."""
    processes.by_first(lambda: _check(file, where))


def kept() -> Path:
    """The folder of such folders: in $ALIGNPRO_CACHE, else $XDG_CACHE_HOME/alignpro, else ~/.cache/alignpro."""
    if own := os.environ.get("ALIGNPRO_CACHE"):
        return Path(own).expanduser() / "gguf"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "alignpro" / "gguf"


def _check(file: Path, where: str) -> None:
    digests = Digests()
    if not _whole(_folder(file, digests), digests):
        _checked(file, where)
    digests.write()


def _plain(file: Path, where: str) -> Path:
    say = Progress().say
    digests = Digests(say)
    folder = _folder(file, digests)
    if not _whole(folder, digests):
        header = _checked(file, where)
        say(f"{where}: reading it by transformers, which is done once; its plain form is kept in {folder}")
        try:
            _make(file, header, folder, where)
        except OSError as error:
            raise RunFailure(
                f"{where}: its plain form could not be kept in {folder} ({files.cause(error)}); {files.remedy(error)},"
                " or set ALIGNPRO_CACHE to another place"
            ) from None
        checksums.fault(folder, digests.digest)
    digests.write()
    return folder


def _folder(file: Path, digests: Digests) -> Path:
    """Where the plain form of a file is, or will be, kept."""
    import transformers

    source = f"{digests.digest(file)} {transformers.__version__} {FORM}"
    name = hashlib.blake2b(source.encode(), digest_size=8).hexdigest()
    return next(kept().glob(f"*-{name}"), kept() / f"{file.stem}-{name}")


def _whole(folder: Path, digests: Digests) -> bool:
    return folder.is_dir() and checksums.fault(folder, digests.digest) is None


def _make(file: Path, header: Header, folder: Path, where: str) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        try:
            _convert(file, header, partial, where)
        except ModelNotUsable:
            raise
        except _FAULTS as error:
            told = " ".join(str(error).split())
            raise ModelNotUsable(f"{where}: transformers cannot read this GGUF file ({told[:300]})") from error
        checksums.seal(partial)
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.is_dir():  # which another process may have made meanwhile
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _checked(file: Path, where: str) -> Header:
    """The header of a file that can be read. Raises ModelNotUsable."""
    try:
        header = gguf_header.read(file)
        if not packages.installed("gguf"):
            raise ModelNotUsable(f"{where}: GGUF files are read with the package gguf, which is not here; {EXTRA}")
        from gguf import GGML_QUANT_SIZES

        gguf_header.check_whole(
            header, file.stat().st_size, {int(kind): size for kind, size in GGML_QUANT_SIZES.items()}
        )
    except (ValueError, OSError) as error:
        if isinstance(error, ModelNotUsable):
            raise
        raise ModelNotUsable(f"{where}: {file.name} {error}; fetch it anew, or give another file") from None
    if _PART.search(file.name) or header.values.get("split.count", 1) > 1:
        raise ModelNotUsable(f"{where}: it is one of several parts; join them first, by llama-gguf-split --merge")
    readable = _readable()
    if _bare(header.architecture) not in map(_bare, readable):
        raise ModelNotUsable(
            f"{where}: its architecture is {header.architecture or 'not told'}, and transformers reads GGUF files of"
            f" {', '.join(readable)} alone; give the model in its plain form, a folder or a hub id"
        )
    return header


def _readable() -> list[str]:
    from transformers.integrations.gguf import GGUF_ARCHS
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    return sorted({*GGUF_ARCHS, *GGUF_SUPPORTED_ARCHITECTURES} - {"general", "tokenizer"})


def _bare(architecture: str) -> str:
    """What transformers and ggml write alike: qwen2_moe and qwen2moe."""
    return re.sub(r"[-_]", "", architecture)


def _convert(file: Path, header: Header, folder: Path, where: str) -> None:
    """Write the plain form into an empty folder."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    link = folder / "model.gguf"  # alone in a folder, where no other file is read beside it
    link.symlink_to(file.resolve())
    with _quiet():
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=link.name, trust_remote_code=False)
        model, told = AutoModelForCausalLM.from_pretrained(
            folder,
            gguf_file=link.name,
            dtype=_dtype(file, header),
            output_loading_info=True,
            trust_remote_code=False,
        )
    link.unlink()
    if missing := sorted(told["missing_keys"]):
        raise ModelNotUsable(f"{where}: it lacks {', '.join(missing[:3])}, which a {type(model).__name__} has")
    _check_read(model, header, where)
    if ROPE in header.tensors:
        _set_rope(model.config, _floats(file, header, ROPE), where)
    model.hf_quantizer = None  # with it, and with the mark in its config, it is never saved
    for mark in ("quantization_config", "_model_name_or_path"):
        vars(model.config).pop(mark, None)
    advised = {own: header.values.get(f"general.sampling.{name}") for name, own in SAMPLING.items()}
    advised = {name: round(value, 6) for name, value in advised.items() if value is not None}
    if advised:
        model.generation_config.update(do_sample=True, **advised)
    model.save_pretrained(folder)
    _save_tokenizer(tokenizer, header, folder, where)


def _dtype(file: Path, header: Header) -> torch.dtype:
    """That in which no weight is rounded: of two bytes where all matrices are and the rest fits, else float32."""
    kinds = {tensor.kind for tensor in header.tensors.values() if len(tensor.shape) > 1}
    half = _HALVES.get(min(kinds, default=0)) if len(kinds) == 1 else None
    rest = [name for name, tensor in header.tensors.items() if len(tensor.shape) == 1 and tensor.kind == 0]
    values = (torch.from_numpy(_floats(file, header, name)) for name in rest if name != ROPE)
    return half if half and all(torch.equal(one.to(half).float(), one) for one in values) else torch.float32


def _floats(file: Path, header: Header, name: str) -> FloatArray:
    """A vector that is kept in float32."""
    held = header.tensors[name]
    return np.fromfile(file, "<f4", held.shape[0], offset=header.start + held.offset)


def _check_read(model: Any, header: Header, where: str) -> None:
    """Raise ModelNotUsable where transformers passes over what belongs to the model."""
    from transformers.integrations.gguf import GGUF_ARCHS
    from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor, get_gguf_hf_weights_map

    own, values = header.architecture, header.values
    if own in GGUF_ARCHS:
        return
    scaling = values.get(f"{own}.rope.scaling.type", "none")
    if own != "gpt-oss" and (scaling != "none" or values.get(f"{own}.rope.scale_linear", 1) != 1):
        raise ModelNotUsable(
            f"{where}: it scales its rotary embeddings ({scaling}), which transformers does not read from GGUF, so that"
            " it would be another model; give it in its plain form, a folder or a hub id"
        )
    processor = TENSOR_PROCESSORS.get(own, TensorProcessor)(config=model.config.to_dict())
    known = {ROPE, *get_gguf_hf_weights_map(model, processor)}
    if out := [name for name in header.tensors if not {name, name.removesuffix(".weight")} & known]:
        raise ModelNotUsable(
            f"{where}: it holds {', '.join(out[:3])}, {len(out)} tensors in all that transformers would leave out, so"
            " that it would be another model; give it in its plain form, a folder or a hub id"
        )


def _set_rope(config: Any, factors: FloatArray, where: str) -> None:
    """Scale rotary embeddings as Llama 3 does, where that gives the file's factors. Raises ModelNotUsable."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaled = copy.deepcopy(config)
    scaled.rope_parameters = {**config.rope_parameters, **LLAMA3, "rope_type": "llama3", "factor": float(factors.max())}
    frequencies, _ = ROPE_INIT_FUNCTIONS["llama3"](scaled, "cpu")
    plain = config.rope_parameters["rope_theta"] ** -(np.arange(len(factors)) / len(factors))
    if len(frequencies) != len(factors) or not np.allclose(plain / frequencies.numpy(), factors, rtol=1e-3):
        raise ModelNotUsable(
            f"{where}: it scales its rotary embeddings by factors that are not Llama 3's, which transformers does not"
            " read from GGUF; give it in its plain form, a folder or a hub id"
        )
    config.rope_parameters = scaled.rope_parameters


def _save_tokenizer(tokenizer: Any, header: Header, folder: Path, where: str) -> None:
    """Its special tokens are listed as such, none is there that the file has not, and texts are cut before merges as
    the file says, where transformers does not do so; a rule that is not known is told."""
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    rows = header.values["tokenizer.ggml.tokens"]
    added = {number: token for number, token in tokenizer.added_tokens_decoder.items() if number < rows}
    special = [token.content for token in added.values() if token.special]
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    rule = header.values.get("tokenizer.ggml.pre", "default")
    if header.values.get("tokenizer.ggml.model") == "gpt2" and rule in DIGITS:
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(False)])
    elif header.values.get("tokenizer.ggml.model") == "gpt2" and rule not in (*GGUF_PRE_TOKENIZER_SPLITS, *AS_GPT2):
        Progress().say(
            f"{where}: its tokenizer cuts texts by the rule {rule!r}, for which transformers takes GPT-2's, so that"
            " some texts may be read as other tokens than by llama.cpp"
        )
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer.json"
    spec = files.read_json(path) or {}
    spec["added_tokens"] = [token for token in spec["added_tokens"] if token["id"] in added]
    files.write_json(path, spec)


@contextmanager
def _quiet() -> Iterator[None]:
    """Bars and warnings of transformers, which would break into ours, are kept back."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        logging.set_verbosity(level)
