"""One clip looked into, as explore.ipynb shows it: answer, faces, scores, and where the networks looked.

    explored = explore("clip.mp4")
    explored.answer, explored.table(), explored.chart(), explored.faces()
    explored.maps(place)        # place: of a face, the table's index
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from utils.core.config import load_config
from utils.report.maps import view_of
from utils.report.panels import PERSON, Svg, draw_chart, draw_faces, draw_views
from utils.report.words import Answer, rates, sentence
from utils.scoring.aggregate import Detail, Result
from utils.scoring.config import SubmissionConfig
from utils.scoring.details import ENSEMBLE, PLACE, network_columns, place_of
from utils.scoring.ensemble import Ensemble
from utils.scoring.scorer import BUNDLED, build, score_media
from utils.scoring.verdict import Limits, Verdict, limits_for, verdict_on

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Explored:
    """A clip's result with all its faces. limits: of the verdict, None where the weights state none."""

    result: Result
    config: SubmissionConfig
    ensemble: Ensemble
    limits: Limits | None

    @property
    def detail(self) -> Detail:
        return self.result.detail

    @property
    def networks(self) -> list[str]:
        return network_columns(network for network, _, _ in self.config.ensemble)

    @property
    def answer(self) -> str:
        """The answer in words, and below it how often clips of known origin score like that."""
        verdict = Verdict("") if self.limits is None else verdict_on(self.result, self.limits)
        file = Answer(self.result.path.name, self.result, verdict)
        said, result = sentence(file, self.limits), self.result
        more = [line for line in rates(result, self.limits) if line not in said]
        lines = [f"{file.name}: {file.word}: {said}", result.judged, result.remark, result.warning, *more]
        return "\n".join(filter(None, lines))

    def table(self) -> pd.DataFrame:
        """A row a face, in the order of time: PLACE, whose face it is (from 1 on; 1, too, where people aren't
        told apart), each network's probability of fake, the ensemble's.

        Its index is the face's place. Probabilities are before `calibration`.
        """
        import pandas as pd

        detail, by_network = self.detail, self.result.by_network
        each = [] if by_network is None else by_network
        scored = zip(detail.faces, each, detail.probabilities, strict=True)
        rows = [(*place_of(face), face.person or 1, *of_each, mean) for face, of_each, mean in scored]
        columns = [*PLACE, PERSON, *self.networks, ENSEMBLE]
        types = dict.fromkeys(columns, float) | {"frame": int, PERSON: int}  # of a table without rows, too
        table = pd.DataFrame(rows, columns=columns).astype(types)
        return table.rename_axis("place").sort_values(["frame", PERSON])

    def extremes(self, most: int = 1) -> list[int]:
        """Places of the faces that weighed most: at most so many of the highest, then of the lowest."""
        highest, lowest = replace(self.detail, most=most).extremes()[::-1]
        return [*highest, *lowest[::-1]]

    def chart(self) -> Svg:
        """The scores over time."""
        return draw_chart(self.table(), self.networks, None if self.config.calibration else self.limits)

    def faces(self) -> Image.Image:
        """All faces in the order of time, as the networks get them, each with its probability, and, of
        several people, whose it is."""
        table = self.table()
        persons = table[PERSON] if table[PERSON].nunique() > 1 else None
        return draw_faces([self.detail.crops[place] for place in table.index], table[ENSEMBLE], persons)

    def maps(self, place: int) -> Image.Image:
        """One face, and where each network looked: Xception's class activation; WS-DAN's attention maps,
        and the crop and the drop that training makes of the one with the highest peak."""
        crop = self.detail.crops[place]
        views = [
            view_of(member, network, crop[None], self.ensemble)[0] | {"network": column}
            for member, (network, _, _), column in zip(
                self.ensemble.members, self.config.ensemble, self.networks, strict=True
            )
        ]
        return draw_views(crop, views, self.result.by_network[place])

    def rescored(self, change: Callable[[np.ndarray], np.ndarray]) -> pd.Series:
        """The ensemble's probability of each face after a change, which gets and gives a face
        (320, 320, 3) uint8 RGB; the index is the face's place."""
        import pandas as pd

        places = sorted(self.detail.crops)
        crops = [change(self.detail.crops[place]) for place in places]
        scores = self.ensemble.predict(np.stack(crops)) if crops else []
        return pd.Series(scores, index=pd.Index(places, name="place"), dtype=float)


def explore(
    clip: str | Path,
    config: SubmissionConfig | str | Path | None = None,
    device: str = "auto",
    overrides: Sequence[str] = (),
) -> Explored:
    """Score one video or image, and keep all its faces; config: None = the bundled weights; overrides: of its
    keys. Raises ConfigError, WeightsError; a file that can't be judged has its reason in the result."""
    if not isinstance(config, SubmissionConfig):
        config = load_config(config or BUNDLED, SubmissionConfig, overrides)
    config = replace(config, runtime="torch")  # the other one's networks give answers alone, no maps
    detector, ensemble = build(config, device)
    [result] = score_media([Path(clip)], detector, ensemble, config, keep=config.face_limit)
    return Explored(result, config, ensemble, limits_for(config))
