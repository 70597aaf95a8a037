"""The table that `make bench` prints."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.timing import Row

# What the fast setting is to reach on a CPU of two cores: at least so many times faster.
GOALS = {
    "extraction mobilenet0.25 fast": 10,
    "extraction resnet50 fast": 20,
    "10-s clip published fast": 15,
    "training wsdan-xception fp32": 2.5,
    "training wsdan-efficientnet-b3 fp32": 2.5,
    "training xception fp32": 2.5,
}


def table(rows: Sequence[Row]) -> str:
    """Times and ratios, then memory, then how far results moved, then the machine."""
    lines = []
    timed = [row for row in rows if row.ratio is not None]
    if timed:
        lines += [f"{'seconds a ...':40} {'':6} {'reference':>10} {'ours':>10} {'ratio':>7} {'goal':>6}"]
        for row in timed:
            goal = GOALS.get(row.name)
            lines.append(
                f"{row.name:40} {row.more['unit']:6} {row.reference_s:10.4f} {row.ours_s:10.4f}"
                f" {row.ratio:6.1f}x {'' if goal is None else f'{goal:g}x':>6}"
            )
    for row in rows:
        if row.name.startswith("memory"):
            lines.append(
                f"{row.name:40} peak {row.more['short_mib']} MiB ({row.more['short_frames']} frames), "
                f"{row.more['long_mib']} MiB ({row.more['long_frames']} frames)"
            )
    lines += [agreement_line(row) for row in rows if row.name.startswith("agreement")]
    facts = next(row.more for row in rows if row.name == "machine")
    lines.append(
        f"{facts['cpu']}, {facts['cores']} cores ({' '.join(facts['flags']) or 'no flags known'}), "
        f"torch {facts['torch']} on {facts['threads']} threads; took {facts['seconds'] / 60:.1f} minutes"
    )
    if not facts["shared_data"]:
        lines.append("DFDC_SHARED names no folder: fewer kinds of clip, no stills, hardly a fake")
    if facts["quick"]:
        lines.append("--quick: these figures mean nothing")
    if facts["load_at_start"] > 0.5:
        lines.append(f"the machine was busy at the start (load {facts['load_at_start']}): ratios may be off")
    return "\n".join(lines)


def agreement_line(row: Row) -> str:
    """How far results moved, in one line."""
    more = row.more
    aucs = "-" if more["auc_before"] is None else f"{more['auc_before']:.4f} -> {more['auc_after']:.4f}"
    return (
        f"{row.name:26} {more['faces']} faces of {more['files']} files, {more['fakes']} of them fake "
        f"(+{more['only_ours']} -{more['only_reference']} faces): "
        f"{more['other_faces']} another face; "
        f"landmarks {more['landmarks_px_mean']:.3f} px mean, {more['landmarks_px_p99']:.3f} p99; "
        f"probability {more['probability_shift_mean']:.5f} mean, {more['probability_shift_max']:.5f} max; "
        f"AUC {aucs}"
    )
