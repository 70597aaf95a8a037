"""One score of a candidate ensemble, from the logits that its networks give the faces of `dev_set`.

score = mean AUC - 2 * what the share of reals called fake (above 0.5) of the worst group exceeds 8% by. A
clip counts as the share of its faces. The AUC doesn't change with a bias, the share does: `found` is what is
left of the fakes once the bias has moved until the worst group of reals is at 8%.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from utils.core.console import Progress
from utils.core.device import pick_device
from utils.core.errors import ConfigError, DataError, WeightsError
from utils.core.files import write_whole
from utils.evaluation.dev_set import CLIPS, ELSEWHERE, PLAIN, SWAPS, SWAPS_ELSEWHERE, Part
from utils.scoring.config import SubmissionConfig
from utils.scoring.ensemble import NOT_FINITE, build_ensemble, mean_of, to_logits, to_probabilities
from utils.scoring.verdict import VERDICT_KEY, Limits, ensemble_of, limits_from
from utils.weights.checkpoint import read_state_dict, save_state_dict, tensors_digest
from utils.weights.networks import NETWORK_NAMES

ALLOWED = 0.08  # of a group's reals may be called fake
PRICE = 2.0  # of what is above
BATCH = 25
REALS_OF = {SWAPS: PLAIN, SWAPS_ELSEWHERE: ELSEWHERE}  # the reals beside fakes of another group's name

Logits = Mapping[tuple[str, bool], np.ndarray]  # (group, whether fake) -> (N,)


@dataclass(frozen=True)
class Member:
    """A weights file and its share of the mean."""

    path: Path
    weight: float


@dataclass(frozen=True)
class Candidate:
    """Networks, and what their mean is of: "logits" or "probabilities"; flip: of mirror images as well."""

    name: str
    members: tuple[Member, ...]
    combine: str = "logits"
    flip: bool = False


def read_candidate(text: str, combine: str, flip: bool) -> Candidate:
    """NAME=FILE or NAME=FILE:WEIGHT,FILE:WEIGHT; ConfigError for another text."""
    name, _, files = text.partition("=")
    if not name or not files:
        raise ConfigError(f"{text!r}: a candidate is NAME=FILE or NAME=FILE:WEIGHT,FILE:WEIGHT")
    return Candidate(name, tuple(read_members(files)), combine, flip)


def read_members(text: str) -> list[Member]:
    """FILE or FILE:WEIGHT,FILE:WEIGHT; ConfigError for another text, or weights whose sum isn't 1."""
    members = []
    for part in text.split(","):
        path, colon, weight = part.rpartition(":")
        try:
            members.append(Member(Path(path), float(weight)) if colon else Member(Path(part), 1.0))
        except ValueError:
            raise ConfigError(f"{part!r}: {weight!r} is no weight; FILE:WEIGHT") from None
    total = sum(member.weight for member in members)
    if abs(total - 1) > 1e-6:
        raise ConfigError(f"{text!r}: the weights must sum to 1; they sum to {total:g}")
    return members


def logits_of(ensemble: Lazy, parts: Sequence[Part], kept: Path, batch_size: int, flip: bool) -> Logits:
    """The logits of an ensemble's faces, or of their mirror images; read from `kept` where they lie there.

    kept: a file that is of these weights and this view alone; it is written part by part, so that a run that
    was stopped goes on. WeightsError where one isn't finite.
    """
    known = dict(np.load(kept)) if kept.is_file() else {}
    steps = sum(-(-len(part.owners) // batch_size) for part in parts if key_of(part) not in known)
    with Progress(kept.stem, steps) as progress:
        for part in parts:
            if key_of(part) in known:
                continue
            faces, answers = part.faces(), []
            for start in range(0, len(faces), batch_size):
                batch = np.array(faces[start : start + batch_size])  # into memory
                answers.append(ensemble.logits(batch[:, :, ::-1] if flip else batch))
                progress.update(images=len(batch))
            known[key_of(part)] = np.concatenate(answers)
            if not np.isfinite(known[key_of(part)]).all():
                raise WeightsError(f"{part.group} faces: {NOT_FINITE}")
            data = io.BytesIO()
            np.savez(data, **known)
            write_whole(kept, data.getvalue())
    return {(part.group, part.is_fake): known[key_of(part)] for part in parts}


def views_of(path: Path, parts: Sequence[Part], folder: Path, flip: bool, device: str) -> list[Logits]:
    """The logits of one weights file, which states its network, of the faces and with flip of their mirrors.

    folder: where they are kept, by the file's contents. WeightsError for a file of no use.
    """
    key = tensors_digest(path)
    files = [folder / f"{path.stem}-{key}{view}.npz" for view in (("", "-mirror") if flip else ("",))]
    ensemble = Lazy(path, device)
    return [logits_of(ensemble, parts, kept, BATCH, is_mirror) for is_mirror, kept in enumerate(files)]


class Lazy:
    """One network as an ensemble that is built once it is asked."""

    def __init__(self, path: Path, device: str):
        self.path, self.device, self._built = path, device, None

    def logits(self, faces: np.ndarray) -> np.ndarray:
        """(B, 320, 320, 3) uint8 RGB -> the logits (B,) of being fake."""
        if self._built is None:
            network = read_state_dict(self.path)[1].get("network")
            if network not in NETWORK_NAMES:
                raise WeightsError(f"{self.path}: its metadata names no network (export_weights.py does)")
            config = SubmissionConfig(precision="fp32", ensemble=[(network, str(self.path), 1.0)])
            self._built = build_ensemble(config, pick_device(self.device))
        return to_logits(self._built.predict(faces))


def key_of(part: Part) -> str:
    """Under which a part's logits are kept."""
    return f"{part.group}, {'fake' if part.is_fake else 'real'}"


def combined(views: Sequence[Sequence[Logits]], weights: Sequence[float], combine: str) -> Logits:
    """The ensemble's logits from those of its members, views[member][view]: means over views and members."""
    answers = {}
    for key in views[0][0]:
        means = [
            mean_of(
                to_probabilities(np.stack([view[key] for view in member], axis=1)),
                [1 / len(member)] * len(member),
                combine,
            )
            for member in views
        ]
        answers[key] = to_logits(mean_of(np.stack(means, axis=1), weights, combine))
    return answers


def called_fake(logits: np.ndarray, owners: Sequence[int], threshold: float = 0.0) -> float:
    """The share of faces above a logit, each owner counting alike."""
    owners = np.asarray(owners)
    above = logits > threshold
    return float(np.mean([above[owners == owner].mean() for owner in np.unique(owners)]))


def judged(parts: Sequence[Part], logits: Logits) -> dict:
    """The figures of a candidate: score, auc and false_alarms by group, worst group, found at 8%."""
    reals = {part.group: part for part in parts if not part.is_fake}
    auc, at_allowed = {}, allowed_logit(list(reals.values()), logits)
    for part in parts:
        if part.is_fake:
            group = REALS_OF.get(part.group, part.group)
            real, fake = logits[group, False], logits[part.group, True]
            auc[part.group] = float(roc_auc_score(np.repeat([0, 1], [len(real), len(fake)]), [*real, *fake]))
    alarms = {group: called_fake(logits[group, False], part.owners) for group, part in reals.items()}
    worst = max(alarms, key=alarms.get)
    mean = float(np.mean(list(auc.values())))
    found = [float((values > at_allowed).mean()) for (_, is_fake), values in logits.items() if is_fake]
    return {
        "score": mean - PRICE * max(alarms[worst] - ALLOWED, 0), "mean_auc": mean, "worst": worst,
        "found": float(np.mean(found)), "bias": -at_allowed, "auc": auc, "false_alarms": alarms,
    }  # fmt: skip


def allowed_logit(reals: Sequence[Part], logits: Logits) -> float:
    """The least logit above which no group of reals has more than the allowed share."""
    least = -np.inf
    for part in reals:
        values = logits[part.group, False]
        steps = np.sort(values)
        shares = np.array([called_fake(values, part.owners, step) for step in steps])
        least = max(least, float(steps[np.argmax(shares <= ALLOWED)]))
    return least


def row_of(candidate: Candidate, parts: Sequence[Part], folder: Path, device: str) -> dict:
    """A candidate's figures, and what it is; files by name and content, not by where they lie.

    folder: where logits are kept. WeightsError for files of no use.
    """
    members = [
        {"file": member.path.name, "content": tensors_digest(member.path), "weight": member.weight}
        for member in candidate.members
    ]
    stated = {
        "name": candidate.name,
        "members": members,
        "combine": candidate.combine,
        "flip": candidate.flip,
    }
    return stated | judged(parts, candidate_logits(candidate, parts, folder, device))


def candidate_logits(candidate: Candidate, parts: Sequence[Part], folder: Path, device: str) -> Logits:
    """The candidate's logits of all parts; folder: where its networks' are kept."""
    views = [views_of(member.path, parts, folder, candidate.flip, device) for member in candidate.members]
    return combined(views, [member.weight for member in candidate.members], candidate.combine)


def measured_sets(
    parts: Sequence[Part], logits: Logits, names: Mapping[str, str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The probabilities (N,) that the verdict's limits are set by, of reals and of fakes, by what they are.

    The reals are the faces of the other list and the clips, a clip's score the mean of its faces'; the fakes
    are stills: those of val as they are, and the swaps. names: of the lists, of PLAIN and of ELSEWHERE.
    """
    scores = {key: to_probabilities(values) for key, values in logits.items()}
    owners = np.array(next(part.owners for part in parts if part.group == CLIPS))
    clips = [scores[CLIPS, False][owners == owner].mean() for owner in np.unique(owners)]
    swaps = [scores[group, True] for group in (SWAPS, SWAPS_ELSEWHERE)]
    return (
        {f"real faces of {names[ELSEWHERE]}": scores[ELSEWHERE, False], "real clips": np.array(clips)},
        {f"stills of {names[PLAIN]}'s fakes": scores[PLAIN, True], "of face swaps": np.concatenate(swaps)},
    )


def state_limits(
    candidate: Candidate, parts: Sequence[Part], folder: Path, device: str, names: Mapping[str, str]
) -> Limits:
    """Write the verdict's limits into the metadata of the candidate's files, and return them.

    names: as of `measured_sets`. WeightsError, OSError.
    """
    limits = limits_from(*measured_sets(parts, candidate_logits(candidate, parts, folder, device), names))
    shares = [(member.path, member.weight) for member in candidate.members]
    limits = replace(limits, of=ensemble_of(shares, candidate.combine, candidate.flip))
    for member in candidate.members:
        state, metadata = read_state_dict(member.path)
        save_state_dict(state, member.path, metadata | {VERDICT_KEY: limits.to_metadata()})
    return limits


def rows_in(report: Path | None) -> list[dict]:
    """The candidates that a report of before holds; DataError if it is another."""
    path = Path(f"{report}.json")
    if report is None or not path.is_file():
        return []
    try:
        return json.loads(path.read_text(encoding="utf-8"))["candidates"]
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{path}: no table of candidates; name another --output") from None


def markdown(rows: Sequence[dict]) -> str:
    """Two tables, a row a candidate: what decides, and the groups."""
    headings = (
        "candidate", "networks", "mean of", "mirror", "dev score", "mean AUC", "worst group of reals",
        "called fake", "fakes found with it at 8%",
    )  # fmt: skip
    lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    for row in rows:
        networks = " + ".join(f"{member['weight']:g} `{member['file']}`" for member in row["members"])
        is_mean = len(row["members"]) > 1 or row["flip"]
        cells = (
            row["name"], networks, row["combine"] if is_mean else "-", "yes" if row["flip"] else "no",
            f"{row['score']:.4f}", f"{row['mean_auc']:.4f}", row["worst"],
            f"{row['false_alarms'][row['worst']]:.1%}", f"{row['found']:.1%}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    for title, key, form in (
        ("AUC", "auc", "{:.3f}"), ("reals called fake at 0.5", "false_alarms", "{:.1%}"),
    ):  # fmt: skip
        groups = list(rows[0][key]) if rows else []
        lines += ["", f"| {title} | {' | '.join(groups)} |", "|---" * (len(groups) + 1) + "|"]
        for row in rows:
            lines.append(f"| {row['name']} | {' | '.join(form.format(row[key][name]) for name in groups)} |")
    return "\n".join(lines)
