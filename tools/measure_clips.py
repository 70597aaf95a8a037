"""Measure what a submission config says of real and labelled clips, as they are and after being passed on.

    python tools/measure_clips.py                                         # the packages' real clips
    python tools/measure_clips.py --videos ../shared/videos --output output/clips
    python tools/measure_clips.py --variants plain "jpeg 50" detect_size=640 face_limit=5     # quicker

Prints two Markdown tables: mean p(fake) of each clip, plain and re-compressed, scaled down or darkened (the
wrong side of 0.5 in bold, real clips above 0.5 counted); and the spread of each clip's per-face scores in the
first variant, with its margin from 0.5. --videos is a folder with a labels.csv (filename,label); default: the
folder videos in the one that DFDC_SHARED names, if it is there. --output NAME also writes NAME.md and
NAME.json. key=value changes the config. Exit codes: 0 done, 1 unusable clips or disk, 2 usage, config or
weights, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def parse(argv: list[str] | None) -> argparse.Namespace:
    summary, _, usage = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=usage, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to the config")
    parser.add_argument("--config", type=Path, default=ROOT / "submission-conf/bundled.py",
                        help="submission config; default: submission-conf/bundled.py")  # fmt: skip
    parser.add_argument("--videos", type=Path, help="folder of clips with a labels.csv")
    parser.add_argument("--variants", nargs="+", metavar="NAME", help="only these variants; default: all")
    parser.add_argument("--output", type=Path, metavar="NAME", help="write NAME.md and NAME.json as well")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_intermixed_args(argv)
    # what follows --variants and holds a "=" belongs to the config
    arguments.overrides += [name for name in arguments.variants or () if "=" in name]
    arguments.variants = [name for name in arguments.variants or () if "=" not in name]
    return arguments


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    from utils.core.console import SMALLER_BATCH, run
    from utils.core.files import check_report, give_report

    command = ["python", "tools/measure_clips.py", *(sys.argv[1:] if argv is None else argv)]

    def work() -> int:
        check_report(arguments.output)
        return give_report(arguments.output, command, *measure(arguments))

    return run(work, memory_advice=SMALLER_BATCH)


def measure(arguments: argparse.Namespace) -> tuple[str, dict]:
    """The report as Markdown, and its figures as plain data. Raises UserError."""
    from utils.core.config import as_plain, load_config
    from utils.core.console import Progress
    from utils.core.errors import ConfigError, DataError, MediaError
    from utils.evaluation import clips
    from utils.scoring.config import SubmissionConfig
    from utils.scoring.scorer import build

    variants = arguments.variants or list(clips.VARIANTS)
    unknown = [name for name in variants if name not in clips.VARIANTS]
    if unknown:
        raise ConfigError(f"--variants {unknown[0]!r}: there are {', '.join(map(repr, clips.VARIANTS))}")
    config = load_config(arguments.config, SubmissionConfig, arguments.overrides)
    chosen = clips.package_clips()
    folder = arguments.videos or clips.shared_clips()
    if folder is not None:
        chosen += clips.labelled_clips(folder)
    twice = [name for name, count in Counter(clip.name for clip in chosen).items() if count > 1]
    if twice:
        raise DataError(f"two clips are called {twice[0]}; rename the labelled one")
    clips.check_readable(chosen)
    detector, ensemble = build(config, arguments.device)
    rows, labels = {}, {}
    with Progress("clips", len(chosen) * len(variants)) as progress:
        for clip in chosen:
            name = clip.name
            rows[name], labels[name] = {}, clip.label
            for variant in variants:
                frames = clips.variant_frames(clip.path, variant, config)
                try:
                    scores = clips.face_scores(frames, detector, ensemble, config.face_limit)
                except MediaError as error:
                    raise DataError(f"{clip.path}: {error}") from None
                rows[name][variant] = clips.clip_figures(scores, clip.label)
                progress.update(images=len(scores))
    tables = clips.means_table(rows, labels, variants) + "\n\n"
    tables += clips.spread_table(rows, labels, variants[0])
    return tables, {"labels": labels, "config": as_plain(config), "clips": rows}


if __name__ == "__main__":
    sys.exit(main())
