"""The published ensemble of Team \\WM/: 2nd place of the Deepfake Detection Challenge.

Log loss 0.42842 on the private and 0.28680 on the public leaderboard. Needs the four published weight files
in `external/`; `external/README.md` says where to get them and `make weights-check` whether they are fine.
Every value is the published one: full frames in fp32, 25 faces a video from frames 9, 19, ... The authors
needed some 40 minutes for the 400 public test videos, ten seconds of 1080p each, on one 1080Ti or 2080Ti.

    python best-submission.py VIDEOS --config submission-conf/wm.py
    python best-submission.py VIDEOS --config submission-conf/wm.py speed=fast
"""

# speed=fast stands for detect_size=640 track=True; what is written here is the exact setting.

detector = "resnet50"
detector_weights = "external/RetinaFace-Resnet50-fixed.pth"
detect_size = None
track = False
score_threshold = 0.8

frame_stride = 10
face_limit = 25

precision = "fp32"
batch_size = 25

ensemble = [
    ("xception", "external/xception-hg-2.pth", 0.2),
    ("wsdan-xception", "external/ckpt_x.pth", 0.7),
    ("wsdan-efficientnet-b3", "external/ckpt_e.pth", 0.1),
]
