"""WS-DAN over Xception on DFDC's own fakes, in groups: a stage after the WS-DAN that is shipped.

What is shipped beside the bundled Xception is the file that this stage starts from (185 seconds on one H200).
The stage was tried on two busy CPU cores with bf16: 39 minutes for 2,964 images; log loss
0.185, AUC 0.981 on 150 faces of val, no gain in the ensemble (external/results/dev.md, N1b+N2). A group is
a real face, its fake and its self-blend; every seventh group is of another place. The first command
shows what it sees:

    python train-wsdan.py wsdan-conf/bundled.py --show-batch batch.png
    python train-wsdan.py wsdan-conf/bundled.py
"""

data_list, datapath = "output/lists/dfdc.json", "output/faces"
originals = "../shared/faces/faces.csv"
pretrained = "../shared/weights/wsdan-xception-gpu.safetensors"
train_sets, valid_set = ("train",), "valid"
groups = (("trio", 0.85), ("blend", 0.1), ("swap", 0.05))
sources = (("output/lists/utk.csv", 0.6), ("output/lists/lfw.csv", 0.4))
save_dir, ckpt, seed = "output/bundled-wsdan", "auto", 28
net, num_attentions, beta, average_centers = "xception", 8, 5e-2, True
image_size, window = 224, (76, 100, 244, 268)
mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
augmentation, label_smoothing, ema = "alike", 0.02, 0.985
optimizer, learning_rate, weight_decay = "adamw", 1e-4, 0.05
schedule, warmup = "onecycle", 0.08
epochs, epoch_samples, batch_size = 2, 520, 8
max_valid_videos, precision, workers, checkpoint_minutes = 600, "bf16", 1, 5
