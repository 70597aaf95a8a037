"""How far a long loop is: a bar on a terminal, lines where there is none."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

from utils import distributed

LINE_SECONDS = 30  # between progress lines where there is no terminal to draw a bar on


class Progress:
    """A bar on a terminal, else a line every half minute: share done, loss, images/s, time left."""

    def __init__(self, what: str, total: int, done: int = 0):
        self.what, self.total, self.done, self.first = what, total, done, done
        self.images, self.loss = 0, None
        self.started = self.said = time.monotonic()
        self.bar = None
        if distributed.is_main() and sys.stderr.isatty():
            self.bar = tqdm(total=total, initial=done, desc=what, unit="step", dynamic_ncols=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.close()

    def update(self, images: int, loss: float | None = None) -> None:
        """One step of so many images is done; loss: mean so far."""
        self.done, self.images, self.loss = self.done + 1, self.images + images, loss
        rate = self.images / max(time.monotonic() - self.started, 1e-9) * distributed.world_size()
        shown = f"{rate:.1f} images/s" if loss is None else f"loss {loss:.4f}, {rate:.1f} images/s"
        if self.bar is not None:
            self.bar.set_postfix_str(shown, refresh=False)
            self.bar.update()
        elif distributed.is_main() and time.monotonic() - self.said >= LINE_SECONDS:
            self.said = time.monotonic()
            left = (self.said - self.started) / (self.done - self.first) * (self.total - self.done)
            minutes = f"{left / 60:.1f} min left"
            print(f"{self.what}: {self.done}/{self.total}, {shown}, {minutes}", file=sys.stderr, flush=True)
