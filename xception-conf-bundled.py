"""The Xception that this repository ships: from ImageNet weights, on the inner window of the face.

Data: one aligned crop a video, real and fake alike (10,925 real and 10,847 fake to train; 5% of the
originals are set aside). Hardware: 2 CPU cores with AVX-512 but without bf16, so fp32. Three stages, because
a 160-pixel image is seen 1.5 times as fast as one of 224: all videos once at 160 pixels, a half of them at
224, and all again at 224 (this file; 3.3 images a second, 110 minutes). The first two stages ran before
originals were set aside.

    python tools/convert_keras_xception.py
    python train-xception.py xception-conf-bundled.py image_size=160 seed=0 learning_rate=4e-4 warmup=0.1 \\
        pretrained=external/xception-imagenet-keras.safetensors data_list=output/lists/dfdc-data.csv \\
        batch_size=32 save_dir=output/bundled-xception-160
    python train-xception.py xception-conf-bundled.py max_train_videos=10800 seed=1 learning_rate=2.5e-4 \\
        pretrained=output/bundled-xception-160/last.pth data_list=output/lists/dfdc-data.csv warmup=0.08 \\
        save_dir=output/bundled-xception-224
    python train-xception.py xception-conf-bundled.py
"""

data_list = "output/lists-holdout/dfdc-data.csv"
data_root = "output/faces"
save_dir = "output/bundled-xception"
resume = "auto"
pretrained = "output/bundled-xception-224/last.pth"
seed = 2

# The crops of this data are cut close around the face: beyond this window of the aligned face they are often
# black, which crops from a video never are.
image_size = 224
window = (76, 100, 244, 268)
mean = (0.5, 0.5, 0.5)
std = (0.5, 0.5, 0.5)
augmentation = "bundled"

optimizer = "adamw"
learning_rate = 3e-4
weight_decay = 0.05
schedule = "onecycle"
warmup = 0.05
n_epoches = 1
batch_size = 24
balance = True

precision = "fp32"
num_workers = 1
checkpoint_minutes = 5
