"""The bundled Xception: on blends and swaps, in groups of a real face and its fakes (`make weights`).

Data: 10,430 pairs and 17,496 real faces of DFDC, UTKFace and LFW. Two CPU cores with bf16, shared with other
work: 44 minutes for 15,000 images (stage 1, as the Makefile has it; its damage was weaker than today's), then
24 for 5,400 from the mean of stage 1 and its start. To expect on val: log loss 0.265, AUC 0.959 (600 faces)
after stage 1; 0.304, 0.946 (150 others) after stage 2. The same command goes on where it stopped.
"""

data_list, data_root = "output/lists/dfdc-data.csv", "output/faces"
originals = "../shared/faces/faces.csv"
pretrained = "output/bundled-xception-mean.safetensors"
groups = (("fake", 0.3), ("blend", 0.45), ("swap", 0.25))
sources = ((data_list, 0.4), ("output/lists/utk.csv", 0.35), ("output/lists/lfw.csv", 0.25))
save_dir, resume, seed = "output/bundled-xception", "auto", 19
# The crops of this data end close around the face: beyond this window they are often black.
image_size, window = 224, (76, 100, 244, 268)
augmentation, label_smoothing, ema = "alike", 0.02, 0.98
optimizer, learning_rate, weight_decay = "adamw", 6e-5, 0.05
schedule, warmup = "onecycle", 0.1
n_epoches, epoch_samples, batch_size = 1, 2700, 12
max_valid_videos, precision, num_workers, checkpoint_minutes = 600, "bf16", 1, 5
