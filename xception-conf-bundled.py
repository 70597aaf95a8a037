"""The bundled Xception: on blends, swaps and DFDC's fakes, in groups of a real face and its fakes.

Data: 10,430 pairs and 17,496 real faces of DFDC, UTKFace and LFW. `make weights` runs two stages: this
one, and a short one at a lower rate from the mean of this one and its start (see the Makefile). On one
H200 and 16 cores, with three other trainings beside it on the same card, this stage ran at 470 images/s
and was stopped after 704 of 1,332 steps (67,600 images, 5 minutes); alone on two CPU cores it takes about
ten hours. To expect on 400 faces of val after 64,000 images: log loss 0.310, AUC 0.944, at a rate that is
still high; the second stage brings it down. The same command goes on where it stopped.
"""

data_list, data_root = "output/lists/dfdc-data.csv", "output/faces"
originals = "../shared/faces/faces.csv"
pretrained = "../shared/weights/xception-pairs.safetensors"
groups = (("fake", 0.25), ("blend", 0.45), ("swap", 0.3))
sources = ((data_list, 0.4), ("output/lists/utk.csv", 0.35), ("output/lists/lfw.csv", 0.25))
masks = "output/lists/mesh.npz"
save_dir, resume, seed = "output/bundled-xception-1", "auto", 37
# The crops of this data end close around the face: beyond this window they are often black.
image_size, window = 224, (76, 100, 244, 268)
augmentation, label_smoothing, ema = "alike", 0.02, 0.998
optimizer, learning_rate, weight_decay = "adamw", 3e-4, 0.05
schedule, warmup = "onecycle", 0.08
n_epoches, epoch_samples, batch_size = 4, 16000, 48
max_valid_videos, precision, num_workers, checkpoint_minutes = 400, "bf16", 2, 5
