"""WS-DAN over Xception on the inner window of the face, to stand beside the bundled Xception.

Nothing trained with it is shipped yet: its first run stayed behind the Xception that it started from, stage 3
of the bundled one (AUC 0.889 against 0.919 on 1,000 validation faces; external/MODEL_CARD.md has its command
and curve).

As it stands here it starts from the bundled Xception of today, which has not been tried. Data: one aligned
crop a video; of 8,000 videos, drawn with the seed, all real ones and as many fake samples once, a quarter of
the fakes self-blended real faces. Hardware: 2 CPU cores with AVX-512 but without bf16, so fp32: 0.9 to 1.2
images a second. `best.pth` holds the averaged weights.

    python train-wsdan.py wsdan-conf/bundled.py --show-batch batch.png     # what it sees
    python train-wsdan.py wsdan-conf/bundled.py                            # the same command goes on
    python tools/export_weights.py output/bundled-wsdan/best.pth external/bundled-wsdan-xception.safetensors
"""

data_list = "output/lists-holdout/dfdc.json"
datapath = "output/faces"
save_dir = "output/bundled-wsdan"
ckpt = "auto"
pretrained = "external/bundled-xception.safetensors"
train_sets = ("train",)
valid_set = "valid"
max_train_videos = 8000
max_valid_videos = 1000
seed = 3

# As for the bundled Xception: beyond this window the crops of this data are often black.
net = "xception"
num_attentions = 8
beta = 5e-2
image_size = (224, 224)
window = (76, 100, 244, 268)
mean = (0.5, 0.5, 0.5)
std = (0.5, 0.5, 0.5)
augmentation = "robust"
self_blended = 0.25

optimizer = "adamw"
learning_rate = 2e-4
weight_decay = 0.05
schedule = "onecycle"
warmup = 0.1
epochs = 1
batch_size = 12
ema = 0.998

precision = "fp32"
workers = 1
checkpoint_minutes = 5
