"""Imports point downward only: each room may use those named before it, and nothing after."""

import ast
import re
from pathlib import Path
from types import ModuleType

import alignpro
from alignpro import results
from alignpro.results import evaluation, headroom

SOURCE = Path(alignpro.__file__).parent
ROOMS = (
    ("errors", "prompt", "rng"),
    ("types",),
    ("config", "recipes"),
    ("runtime",),
    ("maths",),
    ("data",),
    ("models",),
    ("remote",),
    ("rewards",),
    ("flow",),
    ("results",),
    ("judges", "theory"),
    ("train",),
    ("evaluate",),
    ("headroom", "lab"),
    ("report",),
    ("running",),
    ("fits",),
    ("studies",),
    ("export", "serve"),
    ("adapters",),
    ("cli",),
    ("__init__", "__main__"),
)
CONFIG = tuple(f"config/{path.name}" for path in (SOURCE / "config").glob("*.py"))
RUNTIME = tuple(f"runtime/{name}.py" for name in ("files", "run_folder", "processes", "progress", "interrupt"))
CLI = tuple(f"cli/{path.name}" for path in (SOURCE / "cli").glob("*.py"))
LEVEL = {name: level for level, names in enumerate(ROOMS) for name in names}


def room(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "alignpro":
            rest = node.module.split(".")[1:]
            found |= {rest[0]} if rest else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("alignpro.")}
    return found & set(LEVEL)


def test_every_file_has_a_room_and_imports_point_down():
    wrong = []
    for path in SOURCE.rglob("*.py"):
        mine = room(path)
        assert mine in LEVEL, f"{path.name} stands in no room of tests/test_structure.py"
        for other in imported_rooms(path):
            if other != mine and LEVEL[other] >= LEVEL[mine] and mine not in {"__init__", "__main__"}:
                wrong.append(f"{path.relative_to(SOURCE)} imports {other}")
    assert not wrong, "; ".join(wrong)


def test_the_ground_floor_and_the_report_need_no_torch():
    for name in ("errors.py", "prompt.py", "types.py", "rng.py", *CONFIG, *RUNTIME, *CLI):
        top = [n for n in ast.parse((SOURCE / name).read_text()).body if isinstance(n, ast.Import | ast.ImportFrom)]
        assert not any("torch" in ast.unparse(node) for node in top), name
    assert not any("torch" in path.read_text() for path in (SOURCE / "report").glob("*.py"))


def test_all_is_exact():
    assert all(hasattr(alignpro, name) for name in alignpro.__all__)
    shown = set(
        re.findall(
            r"alignpro\.(\w+)", (SOURCE.parents[1] / "README.md").read_text().split("```python")[1].split("```")[0]
        )
    )
    assert shown <= set(alignpro.__all__)


def test_nothing_is_left_unfinished():
    marks = re.compile(r"\b(TODO|FIXME|XXX)\b|NotImplementedError")
    found = [str(p.relative_to(SOURCE)) for p in SOURCE.rglob("*.py") if marks.search(p.read_text())]
    assert not found


LOADERS = re.compile(r"(load_(language_model|prompter|frozen|reward|second_reward|judge|prompt_terms)|Endpoints)$")
DEFINED_BELOW = ("models/", "rewards/", "judges/", "remote/")
"""Rooms that define loaders, and build one from another."""
THE_LAB = "lab/preferences.py"
"""It stands below `running` and asks the lab's own frozen model, whatever any settings say."""


def callers(names: re.Pattern[str]) -> dict[str, set[str]]:
    """By file, the functions in which a name of these is called."""
    found: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                called = {
                    node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                    for node in ast.walk(function)
                    if isinstance(node, ast.Call)
                }
                if any(map(names.match, called)):
                    found.setdefault(str(path.relative_to(SOURCE)), set()).add(function.name)
    return found


def test_loading_the_pieces_exists_once():
    where = {name for name in callers(LOADERS) if not name.startswith(DEFINED_BELOW)}
    assert where == {"running/load.py", THE_LAB}


def test_opening_a_folder_exists_once():
    assert callers(re.compile(r"claim$"))["running/opening.py"] == {"open_run"}
    assert callers(re.compile(r"open_run$")) == {
        "running/job.py": {"run", "headroom", "evaluate_again", "evaluate_elsewhere"},
        "running/rejudge.py": {"judge_again"},
        "fits/reward.py": {"learn_reward"},
        "fits/sft.py": {"learn_prompter"},
        "fits/rlhf.py": {"fine_tune"},
        "fits/template.py": {"find_template"},
    }
    starters = set(callers(re.compile(r"(reopen|claim)$"))) - {"runtime/run_folder.py"}
    assert all(name == "running/opening.py" or name.startswith("studies/") for name in starters)  # made ready for runs


def keys_of(module: ModuleType) -> set[str]:
    """What the file of a module of results calls its fields."""
    found = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, results.Result)]
    return {key for c in found for name in c.model_fields for key in c._estimates.get(name, (name,))}


OTHERWISE = {
    "a",
    "answers",
    "arm",
    "b",
    "ci95",
    "distance",
    "endpoints",
    "failed",
    "failures",
    "failure",
    "finish",
    "frozen_calls",
    "gain",
    "input_tokens",
    "judge",
    "kl",
    "no_prompter",
    "objective",
    "optimum",
    "output_tokens",
    "prompt",
    "prompt_id",
    "prompt_terms",
    "prompts",
    "reference_prompter",
    "response",
    "responses",
    "reward",
    "rewrite",
    "rewrites",
    "second_reward",
    "seconds",
    "stage",
    "step",
    "terms",
    "text",
    "system",
    "template",
    "tie",
    "trained_prompter",
    "verdict",
}
"""Keys of evaluation.json and headroom.json that name something else too: rows of other files, columns, settings."""


def test_results_are_read_as_types_and_by_no_key():
    keys = keys_of(evaluation) | keys_of(headroom)
    assert {"mean_reward", "arms", "win_rates", "frontier", "kl_ci95"} <= keys - OTHERWISE
    for path in SOURCE.rglob("*.py"):
        if path.parent.name == "results":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            key = None
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
                key = node.slice
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
                key = node.args[0] if node.args else None
            told = key.value if isinstance(key, ast.Constant) else None
            assert told not in keys - OTHERWISE, f"{path.relative_to(SOURCE)} line {node.lineno} indexes {told!r}"


def test_names_of_arms_are_parsed_in_one_place():
    reads = re.compile(r"""\w\([^)\n]*["'](gibbs|pass)_["']|\.partition\(["']_["']\)""")
    places = {str(p.relative_to(SOURCE)) for p in SOURCE.rglob("*.py") if reads.search(p.read_text())}
    assert not places
    assert (SOURCE / "evaluate/arms/arm.py").read_text().count("def parse") == 1


def test_prompts_are_framed_in_one_place():
    """`Frame` fills templates, fences, places the system message, breaks special tokens, parts thoughts and reads
    rewrites, by the functions beside it; others ask it, and no other file builds a turn or applies a chat template."""
    beside = ("framing", "marks", "written")
    homes = {*(SOURCE / "models" / f"{name}.py" for name in beside), SOURCE / "config" / "meta_prompts.py"}
    may = {
        "Frame",
        "Message",
        "meta_prompt",
        "usage",
        "broken",
        "marks_in",
        "reader",
        "transcript",
        "rewrite_in",
        "as_rewrite",
        "EMPTY_REWRITE",
        "NO_ANSWER",
    }
    turn = re.compile(r"apply_chat_template|[\"']role[\"']\s*:\s*[\"']|</?rewrite>|<request")
    for path in SOURCE.rglob("*.py"):
        if path in homes:
            continue
        text = path.read_text()
        assert not turn.search(text), f"{path.relative_to(SOURCE)} frames by itself"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module in {f"alignpro.models.{name}" for name in beside}:
                taken = {alias.name for alias in node.names} - may
                assert not taken, f"{path.relative_to(SOURCE)} takes {taken} from the frame"


def test_the_server_itself_needs_no_torch():
    """Its prompters do, in processes of their own."""
    seen, todo = set(), [SOURCE / "serve" / "service.py"]
    while todo:
        path = todo.pop()
        seen.add(path)
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            module = getattr(node, "module", None) or ""
            names = [alias.name for alias in node.names]
            taken = [module, *(f"{module}.{name}" for name in names)] if module else names
            assert not any(name.split(".")[0] in ("torch", "transformers") for name in taken), path
            for name in (name for name in taken if name.startswith("alignpro")):
                stem = SOURCE.joinpath(*name.split(".")[1:])
                todo += {file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file()} - seen
    assert SOURCE / "serve" / "relay.py" in seen
