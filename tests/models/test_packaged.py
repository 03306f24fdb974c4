"""Models inside installed packages are found by the package's name, and the package is never imported."""

import shutil
import sys

import pytest
from tiny import save_model

from alignpro.config import FrozenSettings, Sampling, Settings
from alignpro.errors import ModelNotUsable
from alignpro.export.card import is_hub_id, shown
from alignpro.models import packaged
from alignpro.models.fingerprint import fingerprint
from alignpro.models.loading import display_name, resolve
from alignpro.models.local import load_frozen
from alignpro.running.inputs import fingerprints


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "model", "llama", seed=3, context=128)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a package that holds these files, as pip records them; to import it would fail."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def add(files, name="tiny-model", module="tiny_model", recorded=True):
        (tmp_path / module).mkdir()
        (tmp_path / module / "__init__.py").write_text("raise RuntimeError('imported')\n")
        for file, source in files.items():
            place = tmp_path / module / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(source if isinstance(source, bytes) else source.read_bytes())
        if recorded:
            told = tmp_path / f"{module}-1.0.dist-info"
            told.mkdir()
            (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            rows = [f"{module}/{file},," for file in ("__init__.py", *files)]
            (told / "RECORD").write_text("\n".join(rows) + "\n")
        return tmp_path / module

    return add


def files_of(model, under=""):
    return {f"{under}{path.name}": path for path in model.iterdir()}


def test_a_folder_of_weights_is_found_and_answers_as_a_copy_of_it_does(install, model):
    root = install(files_of(model, "weights/") | {"notes/config.json": b"{}"})
    for name in ("tiny-model", "tiny_model", "Tiny.Model", "tiny-model/weights"):
        assert resolve(f"package:{name}", "frozen") == str(root / "weights")
    sampling = Sampling(max_new_tokens=4)
    held, plain = (
        load_frozen(FrozenSettings(model=place, sampling=sampling)) for place in ("package:tiny-model", str(model))
    )
    assert fingerprint(held.lm.model) == fingerprint(plain.lm.model)
    assert held.respond(["owls"], [2], 0) == plain.respond(["owls"], [2], 0)
    assert "tiny_model" not in sys.modules


def test_a_package_is_found_by_what_python_imports_where_pip_recorded_no_files(install, model):
    """As one that is installed to be edited."""
    root = install(files_of(model), recorded=False)
    assert packaged.place_of("package:tiny_model", "frozen.model") == root
    assert "tiny_model" not in sys.modules


def test_a_sentence_encoder_is_one_model_with_what_its_modules_keep(install):
    root = install({"encoder/modules.json": b"[]", "encoder/0/config.json": b"{}", "encoder/0/w.safetensors": b""})
    assert packaged.place_of("package:tiny-model", "reward.model") == root / "encoder"


def test_of_several_models_one_is_chosen_by_its_path(install):
    root = install({"small/a.gguf": b"", "large/a.gguf": b"", "large/b.gguf": b""})
    with pytest.raises(ModelNotUsable) as told:
        packaged.place_of("package:tiny-model", "frozen.model")
    assert all(name in str(told.value) for name in ("3 models", "small/a.gguf", "large/a.gguf", "large/b.gguf"))
    advised = str(told.value).rsplit(" ", 1)[-1]
    assert packaged.place_of(advised, "frozen.model") == root / "large/a.gguf"
    assert packaged.place_of("package:tiny-model/small", "frozen.model") == root / "small/a.gguf"
    assert packaged.place_of("package:tiny-model/b.gguf", "frozen.model") == root / "large/b.gguf"
    with pytest.raises(ModelNotUsable, match="2 models"):
        packaged.place_of("package:tiny-model/a.gguf", "frozen.model")
    for gone in ("c.gguf", "../small/a.gguf"):
        with pytest.raises(ModelNotUsable, match="no model at"):
            packaged.place_of(f"package:tiny-model/{gone}", "frozen.model")


@pytest.mark.parametrize("name", ["no-such-model", "", "..", "__main__", "a b", "no_such.part"])
def test_a_package_that_is_not_installed_is_told_with_what_installs_it(name):
    with pytest.raises(ModelNotUsable, match=rf"frozen.model package:{name}: no package .* is installed"):
        resolve(f"package:{name}", "frozen")


def test_a_package_without_a_model_is_told(install, tmp_path, monkeypatch):
    install({"data.json": b"{}"})
    with pytest.raises(ModelNotUsable, match="holds no model"):
        resolve("package:tiny-model", "reward")
    (tmp_path / "lies_about").mkdir()  # a folder on the path is no package
    with pytest.raises(ModelNotUsable, match="no package"):
        resolve("package:lies_about", "reward")


def test_a_packaged_model_is_known_again_by_its_files_and_named_by_its_package(install, model):
    root = install(files_of(model))
    settings = Settings(frozen=FrozenSettings(model="package:tiny-model"))
    before = fingerprints(settings)
    assert set(before) == {"frozen.model package:tiny-model"}
    shutil.copy(model / "config.json", root / "generation_config.json")
    assert fingerprints(settings) != before
    assert display_name("package:tiny-model", "frozen") == "tiny-model"
    assert shown("package:tiny-model/a.gguf") == "package:tiny-model/a.gguf"
    assert not is_hub_id("package:tiny-model/a.gguf")
