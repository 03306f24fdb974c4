"""A test set on which no gain could show is told of at the start, in the folder and in the report."""

from alignpro.runtime.files import read_jsonl


def test_few_test_prompts_are_told_of(trained):
    told = [row["text"] for row in read_jsonl(trained / "notices.jsonl") if row["about"] == "few test prompts"]
    assert len(told) == 1 and "test prompts: a gain of less than about" in told[0]
    assert told[0].replace("'", "&#39;") in (trained / "report.html").read_text("utf-8")
