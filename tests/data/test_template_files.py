"""Files of templates: what they hold, how a prompt stands in one, and what is wrong with those that cannot be used."""

import itertools

import pytest

from alignpro.config import TEMPLATES
from alignpro.data.templates import Template, read_templates
from alignpro.errors import DataError
from alignpro.lab import world
from alignpro.types import Prompt, Turn

BEFORE = (Turn("user", "owls?"), Turn("assistant", "They fly."))


def read(tmp_path, text, **written):
    path = tmp_path / "t.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_templates(str(path), **written)


def test_a_line_is_a_template_and_the_bare_prompt_comes_first(tmp_path):
    templates = read(tmp_path, "\ufeffIn short: {prompt}\r\n\r\n  {prompt} 🦉 [please]\r\n{prompt}\r\n")
    assert templates == (
        Template(0, "{prompt}", 4),
        Template(1, "In short: {prompt}", 1),
        Template(2, "{prompt} 🦉 [please]", 3),
    )
    assert [one.frame(Prompt("{system} [x] {{a}}\n")) for one in templates] == [
        "{system} [x] {{a}}\n",
        "In short: {system} [x] {{a}}\n",
        "{system} [x] {{a}}\n 🦉 [please]",
    ]
    assert [one.name for one in templates] == ["template_0", "template_1", "template_2"]


def test_blocks_hold_several_lines(tmp_path):
    held = "---\n\nBe brief.\n\n{prompt}\n ---\n---\n{prompt}\nAn example {{prompt}} { too }.\n"
    templates = read(tmp_path, held)
    assert templates[0] == Template(0, "{prompt}", 0)
    assert templates[1:] == (
        Template(1, "Be brief.\n\n{prompt}", 3),
        Template(2, "{prompt}\nAn example {{prompt}} { too }.", 8),
    )
    assert templates[2].frame(Prompt("Owls?")) == "Owls?\nAn example {prompt} { too }."


def test_what_stands_before_a_prompt_is_put_where_it_is_named():
    template = Template(1, "{system}\n\n{history}\n\nNow: {prompt} {prompt}")
    assert template.frame(Prompt("why?", "Be brief.", BEFORE)) == (
        "Be brief.\n\nUser: owls?\n\nAssistant: They fly.\n\nNow: why? why?"
    )
    assert template.frame(Prompt("why?")) == "Now: why? why?"
    for text in ("{history}\n\n{prompt}", "{prompt}\n\n{system}", "{system} {prompt}"):
        assert Template(1, text).frame(Prompt("why?")) == "why?"  # recognised as the bare prompt


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a {prompt}\n\nbe brief", r"t\.txt, line 3: no \{prompt\} in 'be brief'.* a line ---"),
        ("a {prompt}\n---\n\n{{prompt}}", r"t\.txt, line 4: no \{prompt\}"),
        ("a {prompt} {user}", r"line 1: unknown field \{user\}; there are \{prompt\}, .* and \{\{user\}\} is the text"),
        ("a {prompt}\nb {prompt}\na {prompt} ", r"line 3: the same template as in line 1"),
        ("caf\u00e9 {prompt}\ncafe\u0301 {prompt}", r"line 2: the same template as in line 1"),
        ("{prompt}\nb {prompt}\n{prompt}", r"line 3: the same template as in line 1"),
        ("", r"t\.txt: it holds no template; give"),
        ("\n---\n \n", r"t\.txt: it holds no template; give"),
        ("{prompt}\n", r"t\.txt: it holds nothing but the bare prompt; give"),
        ("a {prompt}\n".encode("utf-16")[2:], r"t\.txt, line 1: a NUL character"),
        ("\n".join(f"{i} {{prompt}}" for i in range(20)).encode() + b"\n\xff {prompt}", r"line 21: half a character"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        read(tmp_path, text)


def test_a_file_that_is_not_there_is_said_by_its_setting(tmp_path):
    with pytest.raises(
        DataError, match=r"headroom\.templates .*none\.txt: the file does not exist; .*default or lab or constraints"
    ):
        read_templates(str(tmp_path / "none.txt"), "headroom.templates")
    with pytest.raises(DataError, match="cannot be read"):
        read_templates(str(tmp_path))


def test_the_lists_that_ship_can_be_read():
    sizes = {name: len(read_templates(name)) for name in TEMPLATES}
    assert sizes == {"default": 12, "lab": 128, "constraints": 13}


def test_the_labs_list_is_every_combination_of_cues():
    chosen = itertools.product([False, True], *[[False, True]] * len(world.CUES))
    wanted = set()
    for clear, *taken in chosen:
        suffix = world.suffix([cue for cue, take in zip(world.CUES, taken, strict=True) if take], clear)
        wanted.add(world.tidy(f"owls , {suffix}") if suffix else "owls")
    assert {template.frame(Prompt("owls")) for template in read_templates("lab")} == wanted
