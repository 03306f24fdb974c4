"""What a prompt is: equal in all it holds, shown without its row, and a plain text where it is one."""

from alignpro.types import Generation, Prompt, Response, Turn, as_prompts

TOLD = (Turn("user", "hello"), Turn("assistant", "hi"))


def test_a_text_is_a_prompt_of_one_text():
    assert Prompt.of("a") == Prompt("a") and Prompt.of(Prompt("a", "s")) == Prompt("a", "s")
    assert as_prompts(["a", Prompt("b")]) == (Prompt("a"), Prompt("b"))
    assert Prompt("a").alone and Prompt("a").key == "a"


def test_prompts_differ_by_whatever_they_hold_in_mappings_and_in_files():
    all_of = [
        Prompt("a"), Prompt("a", ""), Prompt("a", "s"), Prompt("a", None, TOLD), Prompt("a", row={"answer": 1}),
        Prompt("a", row={"answer": 2}), Prompt("a", row={"answer": [1, {"b": 2}]}), Prompt("a", "s", TOLD),
    ]  # fmt: skip
    assert len(dict.fromkeys(all_of)) == len({prompt.key for prompt in all_of}) == len(all_of)
    again = Prompt("a", row={"b": 1, "c": 2}), Prompt("a", row={"c": 2, "b": 1})
    assert again[0] == again[1] and again[0].key == again[1].key


def test_what_a_model_is_asked_has_no_row():
    prompt = Prompt("a", "s", TOLD, {"answer": "secret"})
    asked = prompt.asking("b")
    assert asked == Prompt("b", "s", TOLD) and "secret" not in repr(asked)


def test_a_response_holds_nothing_of_the_rewrite():
    drawn = Generation("y", "length", query=[1, 2, 3])
    assert drawn.response == Response("y", "length") and Response.of("y") == Response("y")
    assert not hasattr(drawn.response, "query")
