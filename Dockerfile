# The image of every node of a cluster on Kubernetes (cluster/kuberay.yaml): docker build -t REGISTRY/interplay:0.1.0 .
# PyTorch's wheels bring CUDA's libraries; the driver comes from the machine.
FROM python:3.11-slim-bookworm

# what FFCV and our C extension compile against, as in setup.sh; wget is what KubeRay asks the nodes' health with
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        g++ libjpeg-dev libopencv-dev libturbojpeg0-dev pkg-config wget \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /home/ray/interplay
COPY constraints.txt pyproject.toml README.md LICENSE ./
RUN pip install --no-cache-dir -c constraints.txt pip "setuptools<81" wheel
# what changes seldom first: the environment is a layer of its own
RUN python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; e = p["optional-dependencies"]; print("\n".join(p["dependencies"] + e["platform"] + e["cloud"]))' > /tmp/requirements.txt \
    && pip install --no-cache-dir --no-build-isolation -c constraints.txt -r /tmp/requirements.txt

COPY platform platform
COPY recipes recipes
COPY search_spaces search_spaces
RUN pip install --no-cache-dir --no-build-isolation --no-deps .

RUN useradd --uid 1000 --create-home --home-dir /home/ray ray && chown -R ray /home/ray
USER ray
ENV RAY_USAGE_STATS_ENABLED=0 MLFLOW_DISABLE_TELEMETRY=true
