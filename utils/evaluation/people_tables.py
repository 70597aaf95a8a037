"""Both rules for clips of several people, as tables: clip by clip, summed up, and reckoned for many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from utils.evaluation.clip_tables import KINDS
from utils.evaluation.clips import LabelledClip
from utils.evaluation.pairs import RULES, Scored
from utils.evaluation.report_tables import Table
from utils.scoring.verdict import FAKE, OPEN, REAL, Limits, verdict_on

WORDS = (REAL, OPEN, FAKE)


def plain(scored: Mapping[str, Mapping[str, Scored]], limits: Limits | None) -> dict:
    """As plain data: of each clip and rule score, word, and the persons' scores and faces."""
    return {
        name: {
            rule: {
                "score": one.result.probability, "word": verdict_on(one.result, limits).word,
                "seconds": round(one.took, 2),
                "persons": [[person.probability, person.faces] for person in one.result.persons],
            }
            for rule, one in by_rule.items()
        }
        for name, by_rule in scored.items()
    }  # fmt: skip


def clips_table(clips: Sequence[LabelledClip], scored: Mapping[str, Mapping[str, Scored]]) -> Table:
    """A row a clip: its score by each rule, the wrong side of 0.5 in bold, and each person's."""
    rows = []
    for clip in clips:
        scores = [scored[clip.name][rule].result.probability for rule in RULES]
        cells = [f"**{score:.3f}**" if (score > 0.5) != clip.label else f"{score:.3f}" for score in scores]
        persons = ", ".join(f"{person.probability:.3f}" for person in scored[clip.name]["all"].result.persons)
        rows.append([clip.name, KINDS[clip.label], *cells, persons])
    return Table(["clip", "truth", *RULES, "persons"], rows)


def sums_table(
    clips: Sequence[LabelledClip], scored: Mapping[str, Mapping[str, Scored]], limits: Limits | None
) -> Table:
    """A row a kind of clip and rule: how many are above 0.5, each word of the verdict, and the work."""
    rows = []
    for made_of, people in (("", "one person"), ("pair", "two people")):
        for label in (0, 1):
            names = [clip.name for clip in clips if (clip.made_of, clip.label) == (made_of, label)]
            for rule in RULES if names else ():
                found = [scored[name][rule] for name in names]
                said = [verdict_on(one.result, limits).word for one in found]
                words = [str(said.count(word)) for word in WORDS]
                above = sum(one.result.probability > 0.5 for one in found)
                took = np.mean([one.took for one in found])
                kind = f"{people}, {KINDS[label]}: {rule}"
                rows.append([kind, str(len(names)), str(above), *words, f"{took:.1f}"])
    return Table(["clips", "count", "above 0.5", *WORDS, "processor s a clip"], rows)


def reckoned_table(limits: Limits) -> Table:
    """Shares of each word if two people's scores have nothing to do with each other: each pair of scores
    counts alike. By "largest", one of the two is judged, either as often."""
    reals, fakes = np.array(limits.reals.scores), np.array(limits.fakes.scores)
    rows, cases = [], (("two real people", reals, reals), ("a fake beside a real one", fakes, reals))
    for name, first, second in cases:
        higher = np.maximum.outer(first, second).ravel()
        for rule, judged in (("largest", (first, second)), ("all", (higher,))):
            real = np.mean([np.mean(scores <= limits.real_at) for scores in judged])
            fake = np.mean([np.mean(scores >= limits.fake_at) for scores in judged])
            rows.append([f"{name}: {rule}", f"{real:.1%}", f"{1 - real - fake:.1%}", f"{fake:.1%}"])
    note = f"Reckoned from {limits.reals.name}, and {limits.fakes.name}."
    return Table(["reckoned", *WORDS], rows, note=note)
