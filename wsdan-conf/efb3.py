"""The published recipe of Team \\WM/'s WS-DAN over EfficientNet-b3, 0.1 of their ensemble.

Starts from ImageNet weights: pretrained = "yes" downloads those of the package efficientnet-pytorch; better,
name a file that holds them. Published figures: 6 GPUs (2080 Ti or 1080 Ti), so 60 images a step at 10 a GPU,
about a week for 50 epochs. With fewer GPUs the effective batch is smaller: it is printed at the start.

    python train-wsdan.py wsdan-conf/efb3.py datapath=/path/to/crops data_list=/path/to/dfdc.json
"""

GPU = "0"
workers = 6
epochs = 60
batch_size = 10
learning_rate = 1e-3

image_size = (300, 300)
net = "efficientnet-b3"
num_attentions = 8
beta = 5e-2

tag = "dfdc"
pretrained = "yes"
save_dir = "./output/dfdc-wsdan-efb3/"
model_name = "model.ckpt"
log_name = "train.log"
ckpt = False
datapath = "/mnt/ssd0/dfdc"
