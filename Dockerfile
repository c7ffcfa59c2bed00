# A target for each use; `docker build --target cpu .` builds one, docker/smoke.sh tries it.
#
#   cpu       serves on a CPU: ONNX Runtime, no torch
#   gpu       serves on an NVIDIA GPU: ONNX Runtime CUDA and TensorRT
#   train     trains, imports, evaluates: torch; on a GPU too, whose libraries torch's wheel brings
#   export    the same image, to export, verify and quantize
#   loadtest  measures a server under load
#
# Packages come in a layer below the code, so that a change of code uploads and pulls the code only.
# A mirror of the package index, or a key for it, is a secret of the build and in no layer:
#
#   docker build --target cpu --secret id=pip.conf,src=$HOME/.config/pip/pip.conf .

# Python 3.11, which the tests run with.
ARG DEBIAN=debian:bookworm-20260824-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171
# CUDA 13 and cuDNN 9, which the wheel of onnxruntime-gpu was built for; Ubuntu's Python is 3.12. By
# tag alone: its digest has not been looked up yet.
ARG CUDA=nvidia/cuda:13.0.3-cudnn-runtime-ubuntu24.04


# hadolint global ignore=DL3008
# DL3008: Debian and Ubuntu keep only the newest build of a package, with its security fixes, so a
# pinned one could soon not be installed. All else of Debian is pinned by the digest of its image.

FROM ${DEBIAN} AS debian
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*

FROM debian AS debian-pip
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/*


# Runs again at each change of pyproject.toml, but what it leaves seldom differs, and the installs
# below run again only where it does.
FROM debian AS requirements
WORKDIR /requirements
COPY pyproject.toml docker/requirements.py ./
RUN python3 requirements.py cpu,otel >cpu.txt \
    && python3 requirements.py gpu,tensorrt,otel >gpu.txt \
    && python3 requirements.py cpu,train,export >train.txt \
    && python3 requirements.py loadtest >loadtest.txt

FROM debian-pip AS wheel
WORKDIR /source
COPY constraints.txt /constraints/
COPY pyproject.toml README.md LICENSE retinaserve.py ./
COPY model model
COPY export export
COPY service service
COPY loadtest loadtest
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    PIP_CONSTRAINT=/constraints/constraints.txt pip wheel --no-deps --wheel-dir /wheel .

# The environment has no pip of its own. With --root the wheel lands in /code as it would in /, for
# a layer that is copied over that of the packages.
FROM debian-pip AS code
RUN python3 -m venv --without-pip /opt/retinaserve
COPY --from=wheel /wheel /wheel
RUN pip --python /opt/retinaserve/bin/python install \
    --no-cache-dir --no-index --no-deps --root /code /wheel/*.whl

# In a file as well as in the label, since buildah takes the label of another commit from its cache
# if nothing below it has changed.
FROM debian AS commit
ARG COMMIT=unknown
RUN echo "$COMMIT" >/commit


FROM debian-pip AS cpu-packages
RUN python3 -m venv --without-pip /opt/retinaserve
COPY constraints.txt /constraints/
COPY --from=requirements /requirements/cpu.txt /requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    pip --python /opt/retinaserve/bin/python install \
    --constraint /constraints/constraints.txt --requirement /requirements/cpu.txt

FROM debian AS cpu
COPY --from=cpu-packages /opt/retinaserve /opt/retinaserve
COPY docker/healthcheck.py /usr/local/bin/healthcheck
COPY --from=code /code/opt/retinaserve /opt/retinaserve
COPY --from=commit /commit /opt/retinaserve/commit
ENV PATH=/opt/retinaserve/bin:$PATH \
    ORT_DISABLE_TELEMETRY=1 \
    RETINASERVE_HOST=0.0.0.0
# Any other user will do: nothing is written. A number, so that Kubernetes sees it is not root.
USER 65532:65532
WORKDIR /
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=2m CMD ["healthcheck"]
ENTRYPOINT ["retinaserve"]
CMD ["serve"]
ARG DEBIAN
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="retinaserve" \
      org.opencontainers.image.description="Serves a RetinaNet over HTTP on a CPU" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.base.name="${DEBIAN}"


FROM ${CUDA} AS cuda
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*

# TensorRT's package is a stub that fetches the libraries from NVIDIA, once for all builds.
FROM cuda AS gpu-packages
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv --without-pip /opt/retinaserve
COPY constraints.txt docker/constraints-gpu.txt /constraints/
COPY --from=requirements /requirements/gpu.txt /requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    pip --python /opt/retinaserve/bin/python install \
    --constraint /constraints/constraints.txt --constraint /constraints/constraints-gpu.txt \
    --requirement /requirements/gpu.txt

FROM gpu-packages AS gpu-code
COPY --from=wheel /wheel /wheel
RUN pip --python /opt/retinaserve/bin/python install \
    --no-cache-dir --no-index --no-deps --root /code /wheel/*.whl

FROM cuda AS gpu
COPY --from=gpu-packages /opt/retinaserve /opt/retinaserve
COPY docker/healthcheck.py /usr/local/bin/healthcheck
COPY --from=gpu-code /code/opt/retinaserve /opt/retinaserve
COPY --from=commit /commit /opt/retinaserve/commit
# The bundle that comes with the package has no graph for a GPU, so one has to be given.
ENV PATH=/opt/retinaserve/bin:$PATH \
    ORT_DISABLE_TELEMETRY=1 \
    RETINASERVE_HOST=0.0.0.0 \
    RETINASERVE_DEVICE=cuda \
    RETINASERVE_BUNDLE=/bundle \
    RETINASERVE_PLANS=/plans
# Group 0 may write as well: some clusters run containers as any user, of that group.
RUN install --directory --owner=65532 --group=0 --mode=0775 /plans
VOLUME /plans
USER 65532:65532
WORKDIR /
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10m CMD ["healthcheck"]
ENTRYPOINT ["retinaserve"]
CMD ["serve"]
ARG CUDA
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="retinaserve" \
      org.opencontainers.image.description="Serves a RetinaNet over HTTP on an NVIDIA GPU" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.base.name="${CUDA}"


FROM debian-pip AS train-packages
RUN python3 -m venv --without-pip /opt/retinaserve
COPY constraints.txt /constraints/
COPY --from=requirements /requirements/train.txt /requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    pip --python /opt/retinaserve/bin/python install \
    --constraint /constraints/constraints.txt --requirement /requirements/train.txt

FROM debian AS train
COPY --from=train-packages /opt/retinaserve /opt/retinaserve
COPY --from=code /code/opt/retinaserve /opt/retinaserve
COPY --from=commit /commit /opt/retinaserve/commit
# Caches of matplotlib and torch: whoever runs this may have no home.
ENV PATH=/opt/retinaserve/bin:$PATH \
    HOME=/tmp \
    ORT_DISABLE_TELEMETRY=1
USER 65532:65532
# Recipes, data and results are mounted here.
WORKDIR /work
STOPSIGNAL SIGTERM
ENTRYPOINT ["retinaserve"]
CMD ["train", "--help"]
ARG DEBIAN
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="retinaserve" \
      org.opencontainers.image.description="Trains a RetinaNet and exports it" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.base.name="${DEBIAN}"

FROM train AS export
CMD ["export", "--help"]


FROM debian-pip AS loadtest-packages
RUN python3 -m venv --without-pip /opt/retinaserve
COPY constraints.txt /constraints/
COPY --from=requirements /requirements/loadtest.txt /requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    pip --python /opt/retinaserve/bin/python install \
    --constraint /constraints/constraints.txt --requirement /requirements/loadtest.txt

FROM debian AS loadtest
COPY --from=loadtest-packages /opt/retinaserve /opt/retinaserve
COPY --from=code /code/opt/retinaserve /opt/retinaserve
COPY --from=commit /commit /opt/retinaserve/commit
# matplotlib keeps a cache at home.
ENV PATH=/opt/retinaserve/bin:$PATH \
    HOME=/tmp
USER 65532:65532
# Reports are written here.
WORKDIR /work
# Ctrl-C and `docker stop` alike end the run, which reports what it has measured.
STOPSIGNAL SIGINT
ENTRYPOINT ["retinaserve"]
CMD ["loadtest", "--help"]
ARG DEBIAN
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="retinaserve" \
      org.opencontainers.image.description="Measures a detection server under load" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.base.name="${DEBIAN}"
