"""The tables of a benchmark: times, memory, how far results moved, and the machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.timing import Row
from utils.core.errors import DataError
from utils.evaluation.report_tables import Table

BUSY = 0.5  # load at the start from which ratios may be off


def ratios_of(path: Path) -> dict[str, float]:
    """How many times as fast each row of a `bench.json` was. Raises DataError."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        return {row["name"]: float(row["ratio"]) for row in rows if row["ratio"] is not None}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path}: not what `make bench` leaves ({error!r})") from None


def tables(rows: Sequence[Row], before: Mapping[str, float] | None = None) -> list[Table]:
    """What there is of each; the first headings name the tables. before: ratios of an earlier commit."""
    made = [times(rows, before), memory(rows), agreement(rows), machine(rows)]
    return [table for table in made if table.rows]


def times(rows: Sequence[Row], before: Mapping[str, float] | None = None) -> Table:
    """Seconds of both, and how many times as fast ours is, and was."""
    lines = [
        [row.name, row.more["unit"], f"{row.reference_s:.3g}", f"{row.ours_s:.3g}", f"{row.ratio:.1f}x"]
        for row in rows if row.ratio is not None
    ]  # fmt: skip
    headings = ["seconds", "a ...", "reference", "ours", "ratio"]
    if before is not None:
        headings.append("ratio before")
        for line in lines:
            line.append(f"{before[line[0]]:.1f}x" if line[0] in before else "-")
    return Table(headings, lines)


def memory(rows: Sequence[Row]) -> Table:
    """Peak MiB for a short and for a long clip."""
    lines = [
        (row.name.removeprefix("memory "), *(
            f"{row.more[f'{kind}_mib']} ({row.more[f'{kind}_frames']} frames)" for kind in ("short", "long")
        ))
        for row in rows if row.name.startswith("memory")
    ]  # fmt: skip
    return Table(("peak MiB", "short clip", "long clip"), lines)


def agreement(rows: Sequence[Row]) -> Table:
    """How far landmarks, in pixels of the crop, and probabilities are from the reference's."""
    headings = ("moved", "files (fakes)", "faces", "another face", "landmarks: mean / 99th percentile",
                "probability: mean / largest", "AUC")  # fmt: skip
    lines = [
        agreement_line(row.name.removeprefix("agreement "), row.more)
        for row in rows if row.name.startswith("agreement")
    ]  # fmt: skip
    return Table(headings, lines)


def agreement_line(name: str, more: dict) -> tuple[str, ...]:
    """A set of files at a setting."""
    before, after = more["auc_before"], more["auc_after"]
    return (
        name,
        f"{more['files']} ({more['fakes']})",
        f"{more['faces']} (+{more['only_ours']} -{more['only_reference']})",
        str(more["other_faces"]),
        f"{more['landmarks_px_mean']:.3f} / {more['landmarks_px_p99']:.3f} px",
        f"{more['probability_shift_mean']:.5f} / {more['probability_shift_max']:.5f}",
        "-" if before is None else f"{before:.4f} -> {after:.4f}",
    )


def machine(rows: Sequence[Row]) -> Table:
    """What it was measured on, and what the figures are not."""
    facts = next(row.more for row in rows if row.name == "machine")
    load, took, flags = facts["load_at_start"], facts["seconds"], " ".join(facts["flags"])
    lines = [
        ("processor", f"{facts['cpu']}, {facts['cores']} cores, {flags or 'no flags known'}"),
        ("software", f"torch {facts['torch']} on {facts['threads']} threads, Python {facts['python']}"),
        ("load at the start", f"{load}{': busy, ratios may be off' if load > BUSY else ''}"),
        ("measured", f"{facts['date']}, in {sum(took.values()) / 60:.1f} minutes ("
                     + ", ".join(f"{part} {value / 60:.1f}" for part, value in took.items()) + ")"),
    ]  # fmt: skip
    if not facts["shared_data"]:
        lines.append(("clips", "DFDC_SHARED names no folder: fewer kinds of clip, no stills, hardly a fake"))
    if facts["quick"]:
        lines.append(("--quick", "these figures mean nothing"))
    return Table(("machine", "is"), lines)
