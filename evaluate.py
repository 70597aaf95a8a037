"""Judge scores, faces, clips, and candidates for the bundled ensemble; `evaluate.py COMMAND -h` says more.

    python evaluate.py scores demo/labels.csv demo/submission.csv          # any score files, side by side
    python evaluate.py faces --list output/lists/dfdc-data.csv --faces output/faces --corruptions all
    python evaluate.py faces --list output/lists/dfdc-data.csv --faces output/faces --fakes swapped
    python evaluate.py clips --videos ../shared/videos --variants plain "jpeg 50" face_limit=5
    python evaluate.py dev --val output/lists/dfdc-data.csv --elsewhere output/lists/utk.csv \\
        --faces output/faces --clips ../shared/reals/clips both=a.safetensors:.6,b.safetensors:.4
    python evaluate.py verdicts                       # how often each word is said of reals and of fakes

--output NAME also writes NAME.md and NAME.json; key=value changes the config of `faces` and `clips`.
Exit codes: 0 done, 1 unusable data or disk, 2 usage, config or weights, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent
BUNDLED = ROOT / "submission-conf/bundled.py"
SCORES = """Figures of score files whose labels are known, side by side: log loss raw and clipped, AUC with
the bootstrap's interval, average precision, equal error rate, accuracy, fakes found at 1% and 10% false
alarms, confusion, calibration error; a column a `source` where the labels state it. A figure that needs both
kinds is "undefined" where one is missing. Of a single score file each labelled file is listed as well."""
FACES = """AUC, log losses, accuracy and the share of real faces called fake, of labelled aligned faces:
plain, under each corruption of utils/evaluation/corruptions.py at three strengths, and plain by how far they
turn. --fakes swapped: face swaps made of the set's real faces instead of its fakes."""
CLIPS = """Mean p(fake) of real and labelled clips, plain and re-compressed, scaled down or darkened (the
wrong side of 0.5 in bold), and, of the first variant, the spread of each clip's faces and its score by other
rules than the mean. --videos: a folder with a labels.csv (filename,label); default: the folder videos of that
which DFDC_SHARED names, if there."""
VERDICTS = """What the verdict in words says of the real faces and the fakes that its limits were set by, by
the score alone, as the weights' metadata has them."""
DEV = """One score a candidate: mean AUC, less twice what the worst group of reals called fake exceeds 8% by,
on half B of val, plain and damaged, on face swaps, and on reals of other places. Each network scores a face
once; another weight or mean of the same files costs nothing. --limits: the one candidate's files get the
verdict's limits, by its scores of the reals of other places and of the fakes, into their metadata."""


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] not in COMMANDS:
        parser = argparse.ArgumentParser(
            description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=", ".join(COMMANDS))
        parser.parse_args(argv[:1])
    text, add, work = COMMANDS[argv[0]]
    parser = argparse.ArgumentParser(prog=f"evaluate.py {argv[0]}", description=text)
    add(parser)
    arguments = parser.parse_intermixed_args(argv[1:])

    from utils.core.console import SMALLER_BATCH, run
    from utils.core.files import check_report, give_report

    def report() -> int:
        check_report(arguments.output)
        return give_report(arguments.output, ["python", "evaluate.py", *argv], *work(arguments))

    return run(report, memory_advice=SMALLER_BATCH)


def add_scores(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("labels", type=Path, help="table filename,label[,source], 1 = fake; or metadata.json")
    parser.add_argument("scores", type=Path, nargs="+", help="tables that best-submission.py wrote")
    parser.add_argument("--clip", type=float, nargs=2, default=(0.01, 0.99), metavar=("LOW", "HIGH"))
    parser.add_argument("--output", type=Path, metavar="NAME", help="write NAME.md and NAME.json as well")


def scores(arguments: argparse.Namespace) -> tuple[str, dict]:
    """The figures as Markdown, and as plain data. Raises UserError and OSError."""
    from utils.core.errors import ConfigError
    from utils.evaluation.score_files import Scored, compared, listed, read_truth
    from utils.evaluation.scores import markdown

    low, high = arguments.clip
    if not 0 <= low < high <= 1:
        raise ConfigError(f"--clip {low:g} {high:g}: two numbers in 0..1, the lower first")
    truth, files = read_truth(arguments.labels), [Scored.read(path) for path in arguments.scores]
    columns = compared(truth, files, (low, high))
    alone = f"{listed(truth, files[0])}\n\n" if len(files) == 1 else ""
    return alone + markdown(columns), {"clip": [low, high], "figures": columns}


def add_config(parser: argparse.ArgumentParser) -> None:
    """What `faces` and `clips` have in common."""
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to the config")
    parser.add_argument("--config", type=Path, default=BUNDLED, help="default: submission-conf/bundled.py")
    parser.add_argument("--output", type=Path, metavar="NAME", help="write NAME.md and NAME.json as well")
    parser.add_argument("--device", default="auto")


def without_overrides(names: list[str], arguments: argparse.Namespace) -> list[str]:
    """The values of an option; those with a "=", which followed it, go to the config's changes."""
    arguments.overrides += [name for name in names if "=" in name]
    return [name for name in names if "=" not in name]


def stated(config) -> dict:
    """The config as plain data, files of this repository by their path in it, whosever machine it lies on."""
    from utils.core.config import as_plain

    plain = as_plain(config)
    ensemble = [[name, path.removeprefix(f"{ROOT}/"), share] for name, path, share in plain["ensemble"]]
    return plain | {"ensemble": ensemble}


def add_faces(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--list", type=Path, required=True, help="dfdc-data.csv or dfdc.json")
    parser.add_argument("--faces", type=Path, required=True, help="folder of <video>/<frame>.png crops")
    parser.add_argument("--set", default="val", help="set of the list; default: val")
    parser.add_argument("--per-video", type=positive, default=1, help="crops of a video; default: 1")
    parser.add_argument("--limit", type=positive, help="draw so many videos of the set")
    parser.add_argument("--fakes", choices=("labelled", "swapped"), default="labelled",
                        help="the set's own, or made of its real faces; default: labelled")  # fmt: skip
    parser.add_argument("--corruptions", nargs="+", default=[], metavar="KIND", help='kinds, or "all"')
    parser.add_argument("--seed", type=int, default=0, help="of the drawn videos, the swaps and the damage")


def positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return int(text)


def faces(arguments: argparse.Namespace) -> tuple[str, dict]:
    """The report as Markdown, and its figures as plain data. Raises UserError."""
    from utils.core.config import load_config
    from utils.core.device import pick_device
    from utils.core.errors import ConfigError
    from utils.evaluation.corruptions import CORRUPTIONS
    from utils.evaluation.measures import figures, labelled_faces, markdown, probabilities
    from utils.evaluation.swaps import swapped_faces
    from utils.scoring.config import SubmissionConfig
    from utils.scoring.ensemble import build_ensemble

    asked = without_overrides(arguments.corruptions, arguments)
    kinds = list(CORRUPTIONS) if "all" in asked else asked
    unknown = [kind for kind in asked if kind not in ("all", *CORRUPTIONS)]
    if unknown:
        raise ConfigError(f"--corruptions {unknown[0]}: there are all, {', '.join(CORRUPTIONS)}")
    config = load_config(arguments.config, SubmissionConfig, arguments.overrides)
    ensemble = build_ensemble(config, pick_device(arguments.device))
    faces_of = {"labelled": labelled_faces, "swapped": swapped_faces}[arguments.fakes]
    found = faces_of(
        arguments.list, arguments.faces, arguments.set, arguments.per_video, arguments.limit, arguments.seed
    )
    answers = probabilities(ensemble, found, config.batch_size, kinds, arguments.seed)
    rows = figures(found.labels, answers)
    for name, places in found.groups().items():
        rows |= figures(found.labels[places], {f"plain, {name}": answers["plain"][places]})
    counts = f"set {arguments.set} of {arguments.list.name}: {found.described()}"
    data = {
        "faces": counts, "fakes": arguments.fakes, "seed": arguments.seed, "config": stated(config),
        "figures": rows,
    }  # fmt: skip
    return f"{counts}, seed {arguments.seed}\n\n{markdown(rows)}", data


def verdicts(arguments: argparse.Namespace) -> tuple[str, dict]:
    """The table as Markdown, and as plain data. Raises UserError."""
    from utils.core.config import load_config
    from utils.core.errors import WeightsError
    from utils.scoring.config import SubmissionConfig
    from utils.scoring.verdict import limits_for

    found = limits_for(load_config(arguments.config, SubmissionConfig, arguments.overrides))
    if found is None:
        raise WeightsError(f"{arguments.config}: its weights state no limits of a verdict")
    rows = {f"{sides.count} {sides.what}": found.shares(sides) for sides in (found.reals, found.fakes)}
    lines = ["| said of | likely real | can't tell | likely fake |", "|---|---|---|---|"]
    lines += [f"| {name} | {' | '.join(f'{share:.0%}' for share in row)} |" for name, row in rows.items()]
    report = f"likely real up to {found.real_at:g}, likely fake from {found.fake_at:g}\n\n" + "\n".join(lines)
    return report, {"real_at": found.real_at, "fake_at": found.fake_at, "shares": rows}


def add_clips(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--videos", type=Path, help="folder of clips with a labels.csv")
    parser.add_argument("--variants", nargs="+", default=[], metavar="NAME", help="only these; default: all")


def clips(arguments: argparse.Namespace) -> tuple[str, dict]:
    """The report as Markdown, and its figures as plain data. Raises UserError."""
    from utils.core.config import load_config
    from utils.core.console import Progress
    from utils.core.errors import ConfigError, DataError, MediaError
    from utils.evaluation import clips
    from utils.scoring.config import SubmissionConfig
    from utils.scoring.scorer import build

    variants = without_overrides(arguments.variants, arguments) or list(clips.VARIANTS)
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
                frames = clips.VariantFrames(clip.path, variant, config)
                try:
                    found = clips.face_scores(frames, detector, ensemble, config.face_limit)
                except MediaError as error:
                    raise DataError(f"{clip.path}: {error}") from None
                rows[name][variant] = clips.clip_figures(found, clip.label)
                progress.update(images=len(found))
    tables = clips.means_table(rows, labels, variants) + "\n\n"
    tables += clips.spread_table(rows, labels, variants[0]) + "\n\n"
    tables += clips.rules_table(rows, labels, variants[0])
    return tables, {"labels": labels, "config": stated(config), "clips": rows}


def add_dev(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "candidates", nargs="+", metavar="NAME=FILE[:WEIGHT],...", help="weights files of each"
    )
    parser.add_argument("--val", type=Path, required=True, help="DFDC's list, whose set val is used")
    parser.add_argument("--elsewhere", type=Path, required=True, help="another place's list, its set dev")
    parser.add_argument("--faces", type=Path, required=True, help="folder of <video>/<frame>.png of both")
    parser.add_argument("--clips", type=Path, required=True, help="folder of real clips")
    parser.add_argument("--combine", choices=("logits", "probabilities"), default="logits")
    parser.add_argument("--flip", action="store_true", help="mean with the mirror image")
    parser.add_argument("--limits", action="store_true", help="write the verdict's limits into the files")
    parser.add_argument("--kept", type=Path, default=ROOT / "output/dev", help="faces and logits, kept there")
    parser.add_argument(
        "--output", type=Path, metavar="NAME", help="NAME.json has the candidates so far: these join them"
    )
    parser.add_argument("--device", default="auto")


def dev(arguments: argparse.Namespace) -> tuple[str, dict]:
    """The table of all candidates as Markdown, and as plain data. Raises UserError and OSError."""
    from utils.core.errors import ConfigError
    from utils.evaluation import dev_score
    from utils.evaluation.dev_set import Sizes, Sources, dev_set

    chosen = [
        dev_score.read_candidate(text, arguments.combine, arguments.flip) for text in arguments.candidates
    ]
    if arguments.limits and len(chosen) > 1:
        raise ConfigError("--limits: name the one candidate whose files are to state them")
    sources = Sources(arguments.val, arguments.elsewhere, arguments.faces, arguments.clips)
    parts = dev_set(sources, Sizes(), arguments.kept, clip_reader())
    rows = dev_score.rows_in(arguments.output)
    for candidate in chosen:
        row = dev_score.row_of(candidate, parts, arguments.kept, arguments.device)
        rows = [other for other in rows if other["name"] != candidate.name] + [row]
    if arguments.limits:
        dev_score.state_limits(chosen[0], parts, arguments.kept, arguments.device)
    sizes = {dev_score.key_of(part): len(part.owners) for part in parts}
    counted = ", ".join(f"{count} {name}" for name, count in sizes.items())
    return f"{dev_score.markdown(rows)}\n\nFaces: {counted}", {"faces": sizes, "candidates": rows}


def clip_reader():
    """What reads the faces of a clip, as the bundled config scores it; the detector comes with the first."""
    from functools import cache

    from utils.core.config import load_config
    from utils.core.device import pick_device
    from utils.evaluation.clips import clip_faces
    from utils.faces.upright import detector_of
    from utils.faces.video import FrameReader
    from utils.scoring.config import SubmissionConfig

    config = load_config(BUNDLED, SubmissionConfig)
    detector = cache(lambda: detector_of(config, pick_device("cpu")))
    return lambda path: clip_faces(
        FrameReader(path, every=config.frame_stride), detector(), config.face_limit
    )


COMMANDS = {
    "scores": (SCORES, add_scores, scores), "faces": (FACES, add_faces, faces),
    "clips": (CLIPS, add_clips, clips), "dev": (DEV, add_dev, dev),
    "verdicts": (VERDICTS, add_config, verdicts),
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
