# One image for heads and workers, for `ray up`, KubeRay and a single machine:
#   docker build -t selfseg:cuda .
#   docker build -t selfseg:cpu --build-arg DEVICE=cpu .
# The wheels of PyTorch bring CUDA; the machine needs NVIDIA's driver and container toolkit alone.

FROM python:3.11-slim-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/selfseg
ENV PATH=/opt/selfseg/bin:$PATH
WORKDIR /build

# What selfseg depends on, in a layer that a change of its code leaves as it is.
COPY pyproject.toml constraints.txt README.md LICENSE ./
ARG DEVICE=cuda
RUN case "$DEVICE" in \
        cuda) index= ;; \
        cpu) index="--extra-index-url https://download.pytorch.org/whl/cpu" ;; \
        *) echo "DEVICE=$DEVICE: cuda or cpu" >&2; exit 1 ;; \
    esac \
    && mkdir selfseg \
    && pip install --no-cache-dir --constraint constraints.txt $index ".[wandb]"

COPY selfseg selfseg
RUN pip install --no-cache-dir --no-deps --force-reinstall .

FROM python:3.11-slim-bookworm
# KubeRay's probes call wget; `ray up`, and from then on the head, reach nodes by ssh and rsync, and run
# all in login shells, where Debian's /etc/profile replaces the PATH of below; OpenCV's wheel needs the
# three libraries.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        openssh-client rsync wget libgl1 libglib2.0-0 libxcb1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 ray \
    && install --directory --owner ray --group ray /cache /home/ray/.ray \
    && echo 'PATH=/opt/selfseg/bin:$PATH' > /etc/profile.d/selfseg.sh
COPY --from=build /opt/selfseg /opt/selfseg
COPY cluster/await_nodes.py cluster/spot_notice.py /home/ray/cluster/
# `ray up` asks the image where its user is at home. The last two have the container toolkit pass GPUs in.
ENV PATH=/opt/selfseg/bin:$PATH \
    HOME=/home/ray \
    SELFSEG_CACHE=/cache \
    RAY_AUTH_MODE=token \
    RAY_USAGE_STATS_ENABLED=0 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000
WORKDIR /home/ray
CMD ["selfseg", "--help"]
