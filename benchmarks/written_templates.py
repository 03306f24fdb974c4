"""Whether the rewrites of a finished run are the templates of a file, and whether they keep the prompt.

Prints a line for each arm with rewrites: python benchmarks/written_templates.py FOLDER FILE
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from alignpro.data.records import normalised
from alignpro.data.templates import read_templates
from alignpro.lab import world
from alignpro.maths import stats
from alignpro.results import Sample, read_rows
from alignpro.runtime.run_folder import RunFolder
from alignpro.types import Prompt


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("templates", help="a file of templates, or default or lab")
    parser.add_argument("--shown", type=int, default=3, help="rewrites in no template to print for each arm")
    asked = parser.parse_args()
    listed = read_templates(asked.templates)[1:]
    rows: dict[str, list[Sample]] = defaultdict(list)
    for sample in read_rows(Sample, RunFolder(asked.folder).samples):
        if sample.stage == "evaluation" and sample.arm in ("reference_prompter", "align_pro"):
            rows[sample.arm].append(sample)
    for arm, samples in rows.items():
        counts: Counter[str] = Counter()
        kept, about, in_template, strange = [], [], defaultdict(list), []
        for sample in samples:
            x = Prompt(sample.prompt)
            own = next((t for t in listed if normalised(t.frame(x)) == normalised(sample.rewrite)), None)
            counts[own.text if own else "none"] += 1
            in_template[sample.prompt].append(float(own is not None))
            kept.append(normalised(x.text) in normalised(sample.rewrite))
            if (subject := world.read(x.text).subject) is not None:
                about.append(world.read(sample.rewrite).subject == subject)
            if own is None:
                strange.append((x.text, sample.rewrite))
        low, high = stats.mean_interval(np.array([np.mean(each) for each in in_template.values()]))
        written = np.mean([one for each in in_template.values() for one in each])
        print(
            f"{arm}: {len(samples)} rewrites of {len(in_template)} prompts; in a template {written:.1%}"
            f" [{low:.1%}, {high:.1%}]"
        )
        print(f"  prompt kept word for word {np.mean(kept):.1%}; lost in {len(kept) - sum(kept)}")
        if about:
            print(f"  the lab's subject kept {np.mean(about):.2%}; lost in {len(about) - sum(about)}")
        for text, n in counts.most_common():
            print(f"  {n / len(samples):6.1%}  {text}")
        for text, rewrite in strange[: asked.shown]:
            print(f"  of {text!r}: {rewrite!r}")


if __name__ == "__main__":
    main()
