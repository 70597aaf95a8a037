"""Print the known labels beside the probabilities of a submission.

    python tools/compare_labels.py demo/labels.csv demo/submission.csv

Both tables have the columns filename,label: 0 or 1 in the first, the probability of being fake in the second.
Below the table: log loss, balanced log loss (probabilities clipped to [0.01, 0.99]), AUC and accuracy over
the files that were judged.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utils.core.console import run  # noqa: E402
from utils.core.errors import DataError  # noqa: E402

MOST_ROWS = 50


def main(argv: list[str] | None = None) -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labels", type=Path, help="table filename,label with label 1 = fake")
    parser.add_argument("submission", type=Path, help="table that best-submission.py wrote")
    args = parser.parse_args(argv)
    return run(lambda: compare(args.labels, args.submission))


def compare(labels_path: Path, submission: Path) -> int:
    """Print the table; exit status. Raises DataError and OSError."""
    try:
        labels, scores = read_table(labels_path), read_table(submission)
        not_judged = read_reasons(submission.with_name(submission.stem + ".errors.csv"))
    except csv.Error as error:
        raise DataError(f"{labels_path} or {submission} can't be read as CSV: {error}") from None
    if not set(labels.values()) <= {0, 1}:
        raise DataError(f"{labels_path}: a label must be 0 (real) or 1 (fake)")
    print(comparison(labels, scores, not_judged))
    return 0


def read_table(path: Path) -> dict[str, float]:
    """The labels of a table `filename,label`, in 0..1; DataError naming file and line if it is another."""
    with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames is None or not {"filename", "label"} <= set(reader.fieldnames):
            raise DataError(f"{path} has no columns filename,label")
        table = {}
        for row in reader:
            if row["filename"] in table:
                raise DataError(f"{path}, line {reader.line_num}: {row['filename']!r} is there again")
            try:
                table[row["filename"]] = float(row["label"])
                if not 0 <= table[row["filename"]] <= 1:
                    raise ValueError
            except (TypeError, ValueError):
                raise DataError(
                    f"{path}, line {reader.line_num}: label {row['label']!r} is no number in 0..1"
                ) from None
    return table


def read_reasons(path: Path) -> dict[str, str]:
    """File name -> why it was not judged, from `<submission>.errors.csv`; empty if there is no such file."""
    if not path.exists():
        return {}
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return {row.get("filename", ""): row.get("reason", "") for row in csv.DictReader(file)}


def comparison(labels: dict[str, float], scores: dict[str, float], not_judged: dict[str, str]) -> str:
    """A line per labelled file (at most MOST_ROWS): name, truth, probability, remark; then the metrics."""
    width = max([len(name) for name in labels] + [len("file")])
    lines = [f"{'file':<{width}}  truth  p(fake)"]
    for name, label in labels.items():
        truth = "fake" if label == 1 else "real"
        if name not in scores:
            lines.append(f"{name:<{width}}  {truth}        -  not in the submission")
        elif name in not_judged:
            lines.append(f"{name:<{width}}  {truth}   {scores[name]:.4f}  not judged: {not_judged[name]}")
        else:
            remark = "" if (scores[name] > 0.5) == (label == 1) else "  on the wrong side of 0.5"
            lines.append(f"{name:<{width}}  {truth}   {scores[name]:.4f}{remark}")
    if len(lines) > MOST_ROWS + 1:
        lines[MOST_ROWS + 1 :] = [f"... {len(labels) - MOST_ROWS} more"]
    judged = [name for name in labels if name in scores and name not in not_judged]
    lines += measures([labels[name] for name in judged], [scores[name] for name in judged])
    return "\n".join(lines)


def measures(labels: list[float], probabilities: list[float]) -> list[str]:
    """How many judged files are on the right side, and their metrics where both kinds are among them."""
    right = sum((p > 0.5) == (label == 1) for p, label in zip(probabilities, labels, strict=True))
    lines = [f"{right} of {len(labels)} judged files on the right side of 0.5"]
    if len(set(labels)) == 2:
        from utils.core.metrics import frame_metrics

        figures = frame_metrics(np.array(labels), np.array(probabilities))
        lines.append(", ".join(f"{name} {value:.4f}" for name, value in figures.items()))
    return lines


if __name__ == "__main__":
    sys.exit(main())
