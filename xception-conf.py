"""The published recipe of Team \\WM/'s Xception: random start, SGD, x0.2 every 2 epochs.

Published figures: with 4 GPUs (2080 Ti or 1080 Ti), crops on an SSD, 92% validation accuracy or more after
about 12 hours; trained for more than a day (20+ epochs). From epoch 10 on the learning rate is next to
nothing (3.2e-6 and falling), so more epochs change little.

    python train-xception.py xception-conf.py data_root=/path/to/crops data_list=/path/to/dfdc-data.csv
"""

data_list = "dfdc-data.csv"
data_root = "/mnt/ssd0/dfdc"
save_dir = "output/dfdc-xception"
resume = "best.pth"
batch_size = 128
num_workers = 20
n_epoches = 50
