"""The bundled WS-DAN over Xception: on DFDC's own fakes, in groups, a tenth of them of other places.

A group is a real face, its fake and its self-blend; every seventh is a pair of another place. On one H200
and 16 cores, beside four other trainings on the same card for most of the time (alone: 700 images/s), it
took 6 minutes and was stopped after 1,038 of 1,332 steps (71,000 images); two CPU cores take about a day.
To expect on 400 faces of val: log loss 0.272, AUC 0.953. The first command shows what it sees:

    python train-wsdan.py wsdan-conf/bundled.py --show-batch batch.png
    python train-wsdan.py wsdan-conf/bundled.py
"""

data_list, datapath = "output/lists/dfdc.json", "output/faces"
originals = "../shared/faces/faces.csv"
pretrained = "../shared/weights/wsdan-xception-gpu.safetensors"
train_sets, valid_set = ("train",), "valid"
groups = (("trio", 0.85), ("blend", 0.1), ("swap", 0.05))
sources = (("output/lists/utk.csv", 0.6), ("output/lists/lfw.csv", 0.4))
masks = "output/lists/mesh.npz"
save_dir, ckpt, seed = "output/bundled-wsdan", "auto", 35
net, num_attentions, beta, average_centers = "xception", 8, 5e-2, True
image_size, window = 224, (76, 100, 244, 268)
mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
augmentation, label_smoothing, ema = "alike", 0.02, 0.998
optimizer, learning_rate, weight_decay = "adamw", 2e-4, 0.05
schedule, warmup = "onecycle", 0.08
epochs, epoch_samples, batch_size = 4, 8000, 24
max_valid_videos, precision, workers, checkpoint_minutes = 400, "bf16", 2, 5
