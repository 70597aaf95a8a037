"""The published recipe of Team \\WM/'s WS-DAN over Xception, 0.7 of their ensemble.

Starts from a trained Xception (`pretrained`: train-xception.py makes it). Published figures: 6 GPUs (2080 Ti
or 1080 Ti), so 60 images a step at 10 a GPU, about a week for 50 epochs. With fewer GPUs the effective batch
is smaller: it is printed at the start.

    python train-wsdan.py wsdan-conf/xception.py datapath=/path/to/crops data_list=/path/to/dfdc.json
"""

GPU = "0"
workers = 6
epochs = 60
batch_size = 10
learning_rate = 1e-3

image_size = (320, 320)
net = "xception"
num_attentions = 8
beta = 5e-2

tag = "dfdc"
pretrained = "output/dfdc-xception/best.pth"
save_dir = "./output/dfdc-wsdan-xception/"
model_name = "model.ckpt"
log_name = "train.log"
ckpt = False
datapath = "/mnt/ssd0/dfdc"
