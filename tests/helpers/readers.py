"""Readers of made-up frames, and detectors and ensembles whose answers are known."""

import weakref

import cv2
import numpy as np
import torch

from utils.core.errors import MediaError
from utils.faces.detector import Face

LANDMARKS = np.array([(22, 41), (97, 41), (60, 78), (37, 125), (82, 125)], np.float32)


class EveryFrame:
    """A detector that sees a face wherever `has_face(frame)` says so, and notes the frames it is shown."""

    device = torch.device("cpu")

    def __init__(self, has_face=lambda frame: True):
        self.has_face, self.calls = has_face, []

    @property
    def seen(self):
        return sum(map(len, self.calls))

    def detect(self, frames, tracks=None):
        self.calls.append([frame.shape[:2] for frame in frames])
        face = Face(0.9, np.array([0, 0, 120, 160], np.float32), LANDMARKS)
        return [face if self.has_face(frame) else None for frame in frames]


class MeanRed:
    """An ensemble whose probability is the red in the middle of the face; notes the sizes of its batches."""

    def __init__(self):
        self.batches = []

    def predict_each(self, faces):
        assert faces.shape[1:] == (320, 320, 3) and faces.dtype == np.uint8
        self.batches.append(len(faces))
        return faces[:, 160, 160, :1] / 255

    def mean(self, by_network):
        return by_network[:, 0]


class Frames:
    """A reader of made-up frames: frame k is red of brightness k; the decoder gives up at `failing_at`."""

    def __init__(self, count, failing_at=None, size=(160, 160)):
        self.count, self.failing_at, self.size = count, failing_at, size
        self.warning, self.given, self.alive, self.most_alive, self.closed = None, 0, 0, 0, False

    def _freed(self):
        self.alive -= 1

    def __iter__(self):
        try:
            for k in range(self.count):
                if k == self.failing_at:
                    raise MediaError(f"the decoder gave up after {k} frames")
                frame = np.zeros((*self.size, 3), np.uint8)
                frame[:, :, 2] = k % 256
                self.given, self.alive = self.given + 1, self.alive + 1
                self.most_alive = max(self.most_alive, self.alive)
                weakref.finalize(frame, self._freed)
                yield k, frame
        finally:
            self.closed = True


def write_red_video(path, frames, size=(160, 160)):
    """A clip whose frame k is red of brightness 5 * k, little changed by the codec."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, size)
    for k in range(frames):
        writer.write(np.full((*size[::-1], 3), (0, 0, 5 * k), np.uint8))
    writer.release()
    return path
