# A CPU alone, as a user without rights:  docker build -t dfdc .  and  docker run --rm dfdc
# Clips of your own:  docker run --rm -v "$PWD/clips:/clips" dfdc .venv/bin/python best-submission.py /clips
# Training with workers also needs  --shm-size 2g.
FROM debian:trixie-slim

# Debian's torch is built without CUDA: an image of 2.6 GB instead of 7. `make setup CPU=1` takes it as it is.
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates git make python3 python3-pip python3-venv python3-torch python3-torchvision \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home dfdc && install -d -o dfdc -g dfdc /home/dfdc/repository
USER dfdc
WORKDIR /home/dfdc/repository

# Packages first: they are installed again only when what is required changes.
COPY --chown=dfdc Makefile requirements.txt requirements-dev.txt requirements-dask.txt requirements-nodeps.txt ./
RUN PIP_NO_CACHE_DIR=1 make setup CPU=1
COPY --chown=dfdc . .

CMD ["make", "demo"]
