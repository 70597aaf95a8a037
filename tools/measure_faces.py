"""Measure a submission config's networks on labelled aligned faces, plain and corrupted.

    python tools/measure_faces.py --list output/lists/dfdc-data.csv --faces output/faces --set val
    python tools/measure_faces.py --list output/lists/dfdc-data.csv --faces output/faces --set val \\
        --corruptions all --limit 1000 --output output/robustness
    python tools/measure_faces.py --config conf.py --list dfdc.json --faces faces --set valid flip=True
    python tools/measure_faces.py --list output/lists/dfdc-data.csv --faces output/faces --fakes swapped

Prints a Markdown table of AUC, log loss, balanced log loss, accuracy and the share of real faces called fake:
of the faces as they are, under each corruption of utils/evaluation/corruptions.py at three strengths, and of
the faces as they are by how far they turn (frontal, turned, profile; from the landmarks beside the crops).
--fakes swapped: instead of the set's fakes, face swaps made of its real faces (utils/evaluation/swaps.py),
then corrupted. --output NAME also writes NAME.md and NAME.json (figures, config, command). One crop a video
counts unless --per-video says more. key=value changes the config. Exit codes: 0 done, 1 unusable faces or
disk, 2 usage, config or weights, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
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
    parser.add_argument("--list", type=Path, required=True, help="dfdc-data.csv or dfdc.json")
    parser.add_argument("--faces", type=Path, required=True, help="folder of <video>/<frame>.png crops")
    parser.add_argument("--set", default="val", help="set of the list; default: val")
    parser.add_argument("--per-video", type=int, default=1, help="crops of a video; default: 1")
    parser.add_argument("--limit", type=int, help="draw so many videos of the set")
    parser.add_argument("--fakes", choices=("labelled", "swapped"), default="labelled",
                        help="the set's own, or made of its real faces; default: labelled")  # fmt: skip
    parser.add_argument("--corruptions", nargs="+", default=[], metavar="KIND", help='kinds, or "all"')
    parser.add_argument("--seed", type=int, default=0, help="of the drawn videos, the swaps and the damage")
    parser.add_argument("--output", type=Path, metavar="NAME", help="write NAME.md and NAME.json as well")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_intermixed_args(argv)
    # what follows --corruptions and holds a "=" belongs to the config
    arguments.overrides += [name for name in arguments.corruptions if "=" in name]
    arguments.corruptions = [name for name in arguments.corruptions if "=" not in name]
    if arguments.per_video < 1 or (arguments.limit is not None and arguments.limit < 2) or arguments.seed < 0:
        parser.error("--per-video must be at least 1, --limit at least 2, --seed at least 0")
    return arguments


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    from utils.core.console import SMALLER_BATCH, run
    from utils.core.files import check_report, give_report

    command = ["python", "tools/measure_faces.py", *(sys.argv[1:] if argv is None else argv)]

    def work() -> int:
        check_report(arguments.output)
        return give_report(arguments.output, command, *measure(arguments))

    return run(work, memory_advice=SMALLER_BATCH)


def measure(arguments: argparse.Namespace) -> tuple[str, dict]:
    """The report as Markdown, and its figures as plain data. Raises UserError."""
    from utils.core.config import as_plain, load_config
    from utils.core.device import pick_device
    from utils.core.errors import ConfigError
    from utils.evaluation.corruptions import CORRUPTIONS
    from utils.evaluation.measures import figures, labelled_faces, markdown, probabilities
    from utils.evaluation.swaps import swapped_faces
    from utils.scoring.config import SubmissionConfig
    from utils.scoring.ensemble import build_ensemble

    kinds = list(CORRUPTIONS) if "all" in arguments.corruptions else arguments.corruptions
    unknown = [kind for kind in arguments.corruptions if kind not in ("all", *CORRUPTIONS)]
    if unknown:
        raise ConfigError(f"--corruptions {unknown[0]}: there are all, {', '.join(CORRUPTIONS)}")
    config = load_config(arguments.config, SubmissionConfig, arguments.overrides)
    ensemble = build_ensemble(config, pick_device(arguments.device))
    faces_of = {"labelled": labelled_faces, "swapped": swapped_faces}[arguments.fakes]
    faces = faces_of(
        arguments.list, arguments.faces, arguments.set, arguments.per_video, arguments.limit, arguments.seed
    )
    answers = probabilities(ensemble, faces, config.batch_size, kinds, arguments.seed)
    rows = figures(faces.labels, answers)
    for name, places in faces.groups().items():
        rows |= figures(faces.labels[places], {f"plain, {name}": answers["plain"][places]})
    counts = f"set {arguments.set} of {arguments.list.name}: {faces.described()}"
    data = {
        "faces": counts, "fakes": arguments.fakes, "seed": arguments.seed, "config": as_plain(config),
        "figures": rows,
    }  # fmt: skip
    return f"{counts}, seed {arguments.seed}\n\n{markdown(rows)}", data


if __name__ == "__main__":
    sys.exit(main())
