# make               this list
# make setup         .venv with all packages (again only when a requirements file changes)
# make demo          score real clips and a fake made from them; leaves demo/submission.csv and demo/report.html
# make test          the fast tests; make test-slow runs the long ones
# make test-browser  the report in a browser, headless Chromium (Debian: apt-get install chromium)
# make lint          ruff
# make bench         speed, memory and agreement beside the published procedure; leaves bench.md, bench.json
# make gpu           where there is a CUDA GPU: that it computes what the CPU does, and how fast; leaves gpu.json
# make tables        write the tables of README and docs anew, from external/results
# make weights       train what is shipped from the data in SHARED, minutes on a GPU; goes on where it stopped
# make faces         its crops and lists alone
# make weights-check which weights are here, whole, and loadable
# Another Python: make setup PYTHON=python3.12 (says so if .venv is of another one)
# Without CUDA:   make setup CPU=1 (see docs/setup.md)
PYTHON ?= python3
VENV ?= .venv
SHARED ?= ../shared
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
STAMP := $(VENV)/.setup-done
REQUIREMENTS := requirements.txt requirements-dev.txt requirements-nodeps.txt
# CPU=1: torch without CUDA, from the package index that TORCH_INDEX names, else the one that PYTHON has.
CPU ?=
TORCH_INDEX ?=
TORCH = $$(grep -hE '^torch(vision)?[<>=]' requirements.txt requirements-dev.txt)
HAS_CPU_TORCH = $(1) -c 'import sys, torch; sys.exit(torch.version.cuda is not None)' 2>/dev/null

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-browser lint bench gpu tables faces weights weights-check same-python

help:
	@sed -n '/^#/!q; s/^# //p' Makefile

setup: $(STAMP)

# A Python that is asked for, but isn't that of .venv, is an error: nothing would tell that it isn't used.
same-python:
ifneq ($(origin PYTHON),file)
	@test ! -x $(PY) || { \
	  asked="$$($(PYTHON) -V 2>/dev/null || echo missing)"; has="$$($(PY) -V)"; test "$$asked" = "$$has" || { \
	  echo "error: $(PYTHON) is $$asked, but $(VENV) was set up with $$has; to set it up anew: rm -r $(VENV)" >&2; exit 1; }; }
endif

# Both OpenCV packages fill the folder cv2 and pip installs them in no promised order. With
# opencv-python on top, `import cv2` needs the system's libGL, which servers and containers lack; so the
# headless one, of the same version, is laid over it last. With CPU=1 torch comes first and then stays as it is.
$(STAMP): $(REQUIREMENTS) | same-python
	@command -v $(PYTHON) >/dev/null || { \
	  echo "error: $(PYTHON) is not on PATH; install Python 3.11 or newer, or run: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1), but 3.11 or newer is needed; run: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: $(PYTHON) has no venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
ifeq ($(CPU),)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -r requirements.txt -r requirements-dev.txt
else
	@test -n "$(TORCH_INDEX)" || $(call HAS_CPU_TORCH,$(PYTHON)) || { \
	  echo "error: CPU=1 needs TORCH_INDEX=ADDRESS of PyTorch's CPU packages, or a PYTHON that has torch without CUDA; see docs/setup.md" >&2; exit 1; }
	$(PYTHON) -m venv $(if $(TORCH_INDEX),,--system-site-packages) $(VENV)
	$(if $(TORCH_INDEX),$(PIP) install --index-url "$(TORCH_INDEX)" $(TORCH))
	@$(call HAS_CPU_TORCH,$(PY)) || { echo "error: $(VENV) has no torch without CUDA; is TORCH_INDEX that of the CPU packages?" >&2; exit 1; }
	$(PIP) list --format=freeze | grep -E '^torch(vision)?=' >$(VENV)/torch.txt
	$(PIP) install --use-pep517 -c $(VENV)/torch.txt -r requirements.txt -r requirements-dev.txt
endif
	$(PIP) install --no-deps --ignore-requires-python -r requirements-nodeps.txt
	$(PIP) install --no-deps --force-reinstall $$(grep '^opencv-python-headless' requirements.txt)
	@$(PY) -c 'import cv2, torch; print(f"ready: torch {torch.__version__}, OpenCV {cv2.__version__}")'
	@touch $@

# The figures that follow the list would say nothing of six files.
demo: $(STAMP)
	$(PY) tools/make_demo_clips.py
	$(PY) best-submission.py demo/clips --output demo/submission.csv --report
	@$(PY) evaluate.py scores demo/labels.csv demo/submission.csv | sed '/^$$/,$$d'

# A file's tests share what they make, so a file stays in one process.
test: $(STAMP)
	$(PY) -m pytest -q -n 2 --dist loadfile

test-slow: $(STAMP)
	$(PY) -m pytest -q -m slow

# Chromium is the system's: the package that drives it would else fetch one of its own.
test-browser: $(STAMP)
	@for name in chromium chromium-browser google-chrome; do command -v $$name && exit; done >/dev/null; \
	  echo "error: no Chromium on PATH; on Debian: apt-get install chromium" >&2; exit 1
	@$(PY) -c 'import playwright' 2>/dev/null || $(PIP) install -r requirements-browser.txt
	$(PY) -m pytest -q -m browser

lint: $(STAMP)
	$(PY) -m ruff check .

bench: $(STAMP)
	$(PY) benchmarks/bench.py --output bench

gpu: $(STAMP)
	$(PY) -m pytest -q -m gpu tests/gpu
	$(PY) benchmarks/gpu.py --output gpu.json

tables: $(STAMP)
	$(PY) tools/fill_tables.py

# Crops and lists: 26,000 faces of DFDC and 6,800 real ones of two other places; does what is missing.
faces: $(STAMP)
	mkdir -p output/pictures
	tar xf $(SHARED)/faces/train.tar -C output/pictures
	tar xf $(SHARED)/faces/val.tar -C output/pictures
	tar xf $(SHARED)/reals/reals.tar -C output/pictures
	$(PY) make_dataset.py output/pictures output/faces runtime=onnxruntime
	$(PY) make_split.py $(SHARED)/faces/faces.csv output/faces --out output/lists
	$(PY) tools/list_reals.py $(SHARED)/reals/reals.csv output/faces --out output/lists
	test -e output/lists/mesh.npz || { $(PIP) install --no-deps -r requirements-mesh.txt && \
	  $(PY) tools/find_mesh.py output/faces --out output/lists/mesh.npz; }

# Xception in two stages, each averaged with its start; WS-DAN in one; both are calibrated as one, by the bias that
# their dev score asks for, and state the verdict's limits.
DEV = --val DFDC=output/lists/dfdc-data.csv --elsewhere UTKFace=output/lists/utk.csv --faces output/faces \
  --clips $(SHARED)/reals/clips
weights: faces
	$(PY) train-xception.py xception-conf-bundled.py originals=$(SHARED)/faces/faces.csv \
	  pretrained=$(SHARED)/weights/xception-pairs.safetensors
	$(PY) tools/export_weights.py output/bundled-xception-1/last.pth output/bundled-xception-1.safetensors
	$(PY) tools/average_weights.py output/bundled-xception-1.safetensors=0.5 \
	  $(SHARED)/weights/xception-pairs.safetensors=0.5 output/bundled-xception-mean.safetensors
	$(PY) train-xception.py xception-conf-bundled.py originals=$(SHARED)/faces/faces.csv seed=41 learning_rate=6e-5 \
	  ema=0.99 n_epoches=3 epoch_samples=1800 batch_size=12 "groups=(('fake', 0.3), ('blend', 0.42), ('swap', 0.28))" \
	  pretrained=output/bundled-xception-mean.safetensors save_dir=output/bundled-xception-2
	$(PY) tools/export_weights.py output/bundled-xception-2/last.pth output/bundled-xception-2.safetensors
	$(PY) tools/average_weights.py output/bundled-xception-2.safetensors=0.5 \
	  output/bundled-xception-mean.safetensors=0.5 output/N1.safetensors
	$(PY) train-wsdan.py wsdan-conf/bundled.py originals=$(SHARED)/faces/faces.csv \
	  pretrained=$(SHARED)/weights/wsdan-xception-gpu.safetensors
	$(PY) tools/export_weights.py output/bundled-wsdan/last.pth output/N2.safetensors
	$(PY) evaluate.py dev pair=output/N1.safetensors:.7,output/N2.safetensors:.3 $(DEV) --output output/dev-pair
	$(PY) tools/calibrate.py output/N1.safetensors:.7 output/N2.safetensors:.3 \
	  --list output/lists/dfdc-data.csv val --list output/lists/utk.csv dev --faces output/faces --half A --limit 400 \
	  --bias-of output/dev-pair.json:pair --state licence="research use only: made from DFDC data" \
	  --report output/calibration \
	  --output output/bundled-xception.safetensors output/bundled-wsdan.safetensors
	$(PY) evaluate.py dev bundled=output/bundled-xception.safetensors:.7,output/bundled-wsdan.safetensors:.3 \
	  $(DEV) --limits

weights-check: $(STAMP)
	$(PY) tools/check_weights.py
