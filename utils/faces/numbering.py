"""The numbers of frames, told by the times of packets before anything is decoded."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator

import av

# An H.264 decoder holds back 16 frames at most, each of two fields.
LOOKAHEAD = 40  # packets


class Restart(Exception):
    """The video must be decoded anew, in a way that assumes less: a keyword of `Decoder`, and False."""

    def __init__(self, **assumption: bool):
        super().__init__(assumption)
        self.assumption = assumption


def with_numbers(packets: Iterator[av.Packet | None]) -> Iterator[tuple[av.Packet | None, int | None]]:
    """Each packet with how many frames are shown before its own; None for frames that aren't shown.

    Reads LOOKAHEAD packets ahead. Raises Restart where times are missing or can't be told apart.
    """
    shown: list[int] = []  # times of all frames so far, sorted
    waiting: deque[av.Packet] = deque()
    highest = -1  # number that was given

    def number(packet: av.Packet) -> int | None:
        nonlocal highest
        first = highest < 0
        if packet.is_discard:
            return None
        position = bisect_left(shown, packet.pts)
        if first and position:  # the first frames can't be decoded, and the decoder won't show them
            raise Restart(numbered=False)
        highest = max(highest, position)
        return position

    for count, packet in enumerate(packets):
        if packet is None:
            break
        if packet.pts is None or (not count and not packet.is_keyframe):
            raise Restart(numbered=False)
        if not packet.is_discard:
            position = bisect_left(shown, packet.pts)
            if position <= highest or packet.pts in shown[position : position + 1]:
                raise Restart(numbered=False)
            shown.insert(position, packet.pts)
        waiting.append(packet)
        if len(waiting) > LOOKAHEAD:
            yield waiting[0], number(waiting.popleft())
    for packet in waiting:
        yield packet, number(packet)
    yield None, None
