# What every node runs, under `ray up` (cluster.yaml) and KubeRay (deploy/) alike: Python, Ray, torch, unsl.
#
#     docker build -t REGISTRY/unsl:latest . && docker push REGISTRY/unsl:latest
#
# Ray's version is the one of constraints.txt; a test holds the two together.
FROM rayproject/ray:2.60.0-py311-gpu

# Procgen's engine draws its frames with Qt.
USER root
RUN apt-get update && apt-get install -y --no-install-recommends libqt5gui5 && rm -rf /var/lib/apt/lists/*
USER ray

WORKDIR /home/ray/unsl
COPY --chown=ray:users . .
# The last two are how a head under `ray up` launches nodes, on AWS and on Google Cloud.
RUN pip install --no-cache-dir -c constraints.txt -e '.[s3,gcs]' boto3 google-api-python-client
