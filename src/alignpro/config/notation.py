"""How settings are written: YAML in recipes, and on the command line texts as they stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import yaml

from alignpro.config.section import Section, sections_in

if TYPE_CHECKING:
    from yaml import SafeLoader as _Safe
else:  # the same in C, where PyYAML was built with it, reads a run's config.yaml in a sixth of the time
    _Safe = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_SCALARS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9][0-9_]*", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": (r"<<", ["<"]),
}
"""What a plain word is that is no text, as YAML 1.2 has it, and the characters with which it can begin."""


class Loader(_Safe):
    """YAML in which yes, no, on and off are texts, as days and 1:30 are, 010 is ten and 1e-5 a number; a mapping that
    has a key twice is refused."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys: list[str] = []
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in keys:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands there twice", key.start_mark)
            keys.append(key.value)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: Any) -> int:
        return int(self.construct_scalar(node).replace("_", ""))


Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_yaml_int)


class _Texts(Loader):
    """The same, where every word is a text."""

    yaml_implicit_resolvers: dict[str, Any] = {}


class _Dumper(yaml.SafeDumper):
    """Texts of several lines stand line by line, as a person reads them."""


def _written(dumper: Any, text: str) -> Any:
    plain = all(line.isprintable() for line in text.split("\n"))
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style=("|" if "\n" in text else None) if plain else '"'
    )


_Dumper.add_representer(str, _written)
for _tag, (_form, _begins) in _SCALARS.items():
    for _kind in (Loader, _Dumper):  # which quotes what either YAML takes for no text
        _kind.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_form})\Z"), _begins)


def as_yaml(tree: Mapping[str, Any]) -> str:
    """Nested mappings as YAML, in their own order."""
    return str(yaml.dump(dict(tree), Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def from_yaml(text: str) -> Any:
    """What YAML holds. Raises YAMLError, ValueError."""
    return yaml.load(text, Loader)


def alternatives(annotation: Any) -> list[Any]:
    """The types that a value of this annotation may have."""
    if get_origin(annotation) is Annotated:
        return alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [kind for part in get_args(annotation) for kind in alternatives(part)]
    return [annotation]


def type_of(key: str, section: type[Section]) -> Any:
    """The annotation of a dotted setting; None where there is no such setting."""
    name, _, rest = key.partition(".")
    if name not in section.model_fields:
        return None
    kinds = alternatives(section.model_fields[name].annotation)
    if not rest:
        return section.model_fields[name].annotation
    for inner in (kind for kind in kinds if sections_in(kind) and get_origin(kind) is not list):
        return type_of(rest, inner)
    return next((Any for kind in kinds if get_origin(kind) is dict), None)


def meant(text: str, annotation: Any) -> Any:
    """The value that a text on the command line gives a setting.

    Of one whose type is text it is the text as it stands, but for null, or nothing, where the setting may be null. Of
    one that may be a text too, what is no number, list or mapping that the setting takes is the text; a text between
    quotes is what they hold. All else is YAML.
    """
    kinds = alternatives(annotation)
    if not text or (text == "null" and NoneType in kinds):
        return "" if str in kinds and NoneType not in kinds else None
    others = [kind for kind in kinds if kind not in (str, NoneType) and get_origin(kind) is not Literal]
    textual = len(others) < len([kind for kind in kinds if kind is not NoneType])
    if textual and not others:
        return text
    of_texts = any(get_origin(kind) is list and alternatives(get_args(kind)[0]) == [str] for kind in others)
    try:
        value = yaml.load(text, _Texts if of_texts else Loader)
    except (yaml.YAMLError, ValueError):
        return text
    return value if not textual or _fits(value, text, others) else text


def _fits(value: Any, text: str, kinds: list[Any]) -> bool:
    """Whether what YAML reads in a text is what the kinds take, rather than a text that happens to read so."""
    if isinstance(value, int | float):
        as_it_stands = not isinstance(value, bool) and (isinstance(value, float) or str(value) == text)
        return as_it_stands and (float in kinds or (isinstance(value, int) and int in kinds))
    if isinstance(value, list):
        return any(get_origin(kind) in (list, tuple) for kind in kinds)
    return isinstance(value, str) or any(get_origin(kind) is dict or sections_in(kind) for kind in kinds)
