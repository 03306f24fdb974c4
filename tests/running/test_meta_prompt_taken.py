"""The meta-prompt that was taken stands in the folder, and settings that left it open go on with it."""

import pytest
import yaml
from cli import settings
from tiny import save_model

from alignpro import config
from alignpro.config import META_PROMPT, META_PROMPTS, PLAIN_META_PROMPT
from alignpro.errors import UsageError
from alignpro.running import job
from alignpro.running.rewriter import TrainedPrompter
from alignpro.runtime import run_folder
from alignpro.runtime.run_folder import RunFolder

QUICK = ("train.steps=1", "evaluate.arms=[no_prompter]", "evaluate.every=0", "prompter.template=null")


def templates(prompter):
    return [one.lm.frame.template for one in getattr(prompter, "passes", (prompter,))]


def test_a_run_says_which_meta_prompt_it_took_and_goes_on_with_it(workshop, tmp_path, monkeypatch):
    monkeypatch.chdir(workshop)
    save_model(tmp_path / "plain", chat=False)
    out = tmp_path / "run"
    asked = settings(workshop, *QUICK, f"prompter.before=[{tmp_path / 'plain'}]")
    assert asked.prompter.template is None
    job.run(asked, out)
    assert RunFolder(out).settings().prompter.template == META_PROMPT
    lines = (out / "config.yaml").read_text().split("\n")
    assert all(f"    {line}" in lines for line in META_PROMPT.split("\n") if line)  # as a person reads it
    assert META_PROMPT.split("\n")[2] in (out / "report.html").read_text().replace("&#39;", "'")
    assert job.run(asked, out, resume=True)  # the same command, which names no template
    assert templates(TrainedPrompter.load(out).prompter) == [PLAIN_META_PROMPT, META_PROMPT]
    with pytest.raises(UsageError, match=r"prompter\.template was .*You improve"):
        run_folder.reopen(out, settings(workshop, *QUICK, asked_before(asked), "prompter.template=Say {prompt}"))

    tree = yaml.safe_load((out / "config.yaml").read_text())  # a folder from before has null
    tree["prompter"]["template"] = None
    (out / "config.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    assert job.run(asked, out, resume=True)
    assert templates(TrainedPrompter.load(out).prompter) == [PLAIN_META_PROMPT, META_PROMPT]


def asked_before(asked):
    return f"prompter.before=[{asked.prompter.before[0]}]"


def test_a_template_of_ones_own_is_not_taken_for_an_open_one(workshop, tmp_path):
    own = settings(workshop, *QUICK, "prompter.template=Say {prompt}")
    run_folder.claim(tmp_path / "run", own)
    with pytest.raises(UsageError, match=r"prompter\.template was 'Say {prompt}', now None"):
        run_folder.reopen(tmp_path / "run", settings(workshop, *QUICK))


@pytest.mark.parametrize("text", [*META_PROMPTS, "a\n\n b \n", "\n{prompt}", "tab\t\n{prompt}\u2028", " {prompt}\n  x"])
def test_texts_of_several_lines_come_back_as_they_were(text, tmp_path):
    made = config.build({"prompter": {"template": text}})
    (tmp_path / "config.yaml").write_text(config.dump(made))
    assert config.load(tmp_path / "config.yaml") == made
