"""Words of the command line: the same in every command, and what comes out fit for any terminal."""

import io
import sys

import pytest
from rich.console import Console

from alignpro import config
from alignpro.cli import app, learning, options, tables
from alignpro.config.notation import from_yaml
from alignpro.errors import SettingsError, UsageError
from alignpro.evaluate import arms
from alignpro.runtime import functions
from alignpro.runtime.progress import Progress
from alignpro.runtime.terminal import printable, replace_what_cannot_be_shown


def taken(*words):
    name, overrides = options.read_words(list(words))
    return config.load(options.recipe_of(name, overrides), overrides)


@pytest.mark.parametrize("form", [("--{}={}",), ("--{}", "{}"), ("{}={}",)])
@pytest.mark.parametrize(
    ("short", "setting"),
    [
        ("prompter", "prompter.model"),
        ("frozen", "frozen.model"),
        ("reward", "reward.model"),
        ("prompts", "data.prompts"),
        ("judge", "evaluate.judge"),
    ],
)
def test_a_short_option_is_its_setting_also_where_a_command_does_not_list_it(form, short, setting):
    words = [part.format(short, "owner/owls") if "=" in part else part.format(short) for part in form[:1]]
    words += ["owner/owls"] * (len(form) - 1)
    settings = taken(*words, "--prompter.template=a: {prompt}", "--prompter.system=Be # brief")
    section, _, key = setting.partition(".")
    assert getattr(getattr(settings, section), key) == "owner/owls"
    assert (settings.prompter.template, settings.prompter.system) == ("a: {prompt}", "Be # brief")


def test_a_model_of_ones_own_takes_the_same_recipe_in_every_command():
    for words in (["--prompter=owner/m"], ["--prompter.model=owner/m"], ["--reward_learning.base=owner/m"]):
        assert options.recipe_of(None, options.read_words(words)[1]) == "local"
        assert learning._settings(words, {}, False, None)[0] == taken(*words)
    assert learning._settings([], {"reward_learning.base": "owner/m"}, False, None)[1] == "local"
    assert learning._settings(["--prompter=lab:prompter-2"], {}, False, None)[1] == "lab"


@pytest.mark.parametrize("command", ["run", "train", "headroom", "reward", "sft", "pairs", "rlhf"])
def test_the_same_words_mean_the_same_in_every_command(command, monkeypatch, capsys):
    words = [
        "--prompter=lab:prompter-2",
        "--prompter.template=a: {prompt}",
        "--frozen",
        "lab",
        "--judge=lab",
        "--seed=010",
    ]
    monkeypatch.setattr(sys, "argv", ["alignpro", command, "--dry-run", *words])
    with pytest.raises(SystemExit) as ended:
        app.main()
    told = capsys.readouterr()
    assert not ended.value.code, told.err
    settings = config.build(from_yaml(told.out))
    assert (settings.prompter.model, settings.prompter.template) == ("lab:prompter-2", "a: {prompt}")
    assert (settings.frozen.model, settings.evaluate.judge, settings.seed) == ("lab", "lab", 10)


@pytest.mark.parametrize("words", [["caf\udce9"], ["-"]])
def test_a_prompt_that_is_no_text_is_told(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9"), encoding="utf-8"))
    monkeypatch.setattr(sys, "argv", ["alignpro", "rewrite", *words, "--run=runs/none"])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("alignpro: the prompt is not UTF-8 (")


def test_a_budget_is_read_in_every_command():
    assert taken("--budget", "5,1000calls").budget == config.BudgetSettings(money=5, calls=1000)
    with pytest.raises(UsageError, match="is not an amount"):
        taken("--budget=lots")


def test_emoji_and_brackets_in_names_are_kept():
    words = options.given("models/🦉 [b]: #1", ["🦊", "owl's"], None, None, "données.txt")
    settings = config.load("local", words)
    assert settings.prompter.before == ["models/🦉 [b]: #1", "🦊"]
    assert (settings.prompter.model, settings.data.prompts) == ("owl's", "données.txt")
    assert config.load("local", options.given("🦉", None, "🦊", None, None)).prompter.model == "🦉"


def test_home_is_expanded_where_a_shell_leaves_it(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    given = ["run", "--out=~/x", "--resume", "--out", "~/y", "--frozen.system=~/kept", "--prompter.system", "~/kept"]
    assert app._at_home(given) == [
        *("run", "--out=/home/ada/x", "--resume", "--out", "/home/ada/y"),
        *("--frozen.system=~/kept", "--prompter.system", "~/kept"),
    ]
    assert app._at_home(["compare", "~/a", "~/b"]) == ["compare", "/home/ada/a", "/home/ada/b"]
    rewrite = ["rewrite", "~/x is my home", "--run=~/r", "--file=~/p.txt"]
    assert app._at_home(rewrite) == ["rewrite", "~/x is my home", "--run=/home/ada/r", "--file=/home/ada/p.txt"]


ATTACK = "\x1b]0;owned\x07\x1b[2J \x9b31m [bold]x[/y] :owl: 🦉\r\n\tnext"


def test_control_characters_of_answers_reach_no_terminal(capsys):
    shown = printable(ATTACK)
    assert shown == "\\x1b]0;owned\\x07\\x1b[2J \\x9b31m [bold]x[/y] :owl: 🦉\n\tnext"
    options.say(ATTACK)
    Progress().say(ATTACK)
    tables.table("a title [/y] :owl:\x1b", ["a [/b]"], [[ATTACK]])
    with Progress().task(ATTACK, 1) as advance:
        advance(1, ATTACK)
    printed = "".join(capsys.readouterr())
    assert not {"\x1b", "\x07", "\x9b", "\r"} & {*printed}
    assert printed.count("[bold]x[/y] :owl:") == 5 and "a [/b]" in printed and "a title [/y] :owl:" in printed


def test_brackets_in_the_name_of_a_bar_are_no_markup():
    progress = Progress()
    progress.console = Console(file=io.StringIO(), force_terminal=True, width=200, emoji=False)
    with progress.task("judging by m[/x] \x1b[2J", 2) as advance:
        advance(1, "loss [/y]")
    printed = progress.console.file.getvalue()
    assert "judging by m[/x] \\x1b[2J" in printed and "loss [/y]" in printed


def test_a_terminal_that_is_not_utf_8_gets_a_mark_for_what_it_lacks(monkeypatch):
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="latin-1") for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    replace_what_cannot_be_shown()
    options.say("é 🦉")
    tables.table("é 🦉", ["é"], [["🦉"]])
    Progress().say("é 🦉")
    for stream in streams.values():
        stream.flush()
    assert "é ?" in streams["stdout"].buffer.getvalue().decode("latin-1")
    assert "é ?" in streams["stderr"].buffer.getvalue().decode("latin-1")


def test_settings_given_with_resume_change_what_the_run_was_begun_with(trained, inside):
    code, told = inside("run", "--resume", f"--out={trained}", "--train.steps=99")
    assert code == 2
    assert told.strip().endswith("the run was started with other settings: train.steps was 6, now 99")
    assert inside("run", "--resume", f"--out={trained}", "--train.steps=6", "--dry-run")[0] == 0


def test_an_arm_that_cannot_be_had_comes_with_the_arms_that_can():
    with pytest.raises(SettingsError, match=r"rlhf.enabled is false; set it, or leave it out: --evaluate.arms='\[no"):
        arms.check(config.load("lab", ["rlhf.enabled=false"]))


def test_a_list_without_brackets_is_shown_with_them():
    with pytest.raises(SettingsError, match=r"valid list, as \[no_prompter,align_pro\]"):
        config.load("lab", ["evaluate.arms=no_prompter,align_pro"])


def test_a_function_named_by_its_file_is_shown_by_its_module():
    with pytest.raises(SettingsError, match=r"python:rewards\.mine:short, from the folder that rewards lies in"):
        functions.named("python:./rewards/mine.py:short", "reward.model")
