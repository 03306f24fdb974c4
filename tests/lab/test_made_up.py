"""Prompts about made-up subjects: no two alike, none about a held-out subject, written by a command."""

from alignpro.lab import made_up, world
from alignpro.lab.subjects import held_out
from alignpro.runtime.files import read_jsonl


def test_prompts_are_distinct_about_many_subjects_and_about_none_that_is_held_out():
    found = made_up.distinct(3000, seed=0)
    assert len(set(found)) == 3000
    assert found == made_up.distinct(3000, seed=0) != made_up.distinct(3000, seed=1)
    words = [f" {' '.join(world.words(text))} " for text in found]
    assert not [text for text in words for phrase in held_out(0) if f" {phrase} " in text]
    known = {prompt.text for prompt in world.user_prompts("train")}
    assert 0.1 < sum(text in known for text in found) / len(found) < made_up.KNOWN  # of one phrasing each counts once


def test_the_command_writes_them_and_leaves_a_file_alone(tmp_path, inside):
    out = tmp_path / "made" / "prompts.jsonl"
    code, said = inside("lab", "prompts", "--out", str(out), "--prompts", "20")
    assert code == 0 and "20 prompts" in said
    assert [row["prompt"] for row in read_jsonl(out)] == made_up.distinct(20, seed=0)
    code, said = inside("lab", "prompts", "--out", str(out))
    assert code == 2 and "is there already" in said
