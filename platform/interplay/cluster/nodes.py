"""The nodes of a cluster, asked of its job server."""

from __future__ import annotations

from typing import Any

import requests
from ray.util.state import list_nodes
from ray.util.state.exception import RayStateApiException

TIMEOUT_S = 20


def cluster_nodes(address: str) -> list[dict[str, Any]]:
    """Of each live node its `ip`, whether it is the `head`, its `cpus` and `gpus`; none if the cluster cannot say."""
    try:
        nodes = list_nodes(address=address, filters=[("state", "=", "ALIVE")], timeout=TIMEOUT_S)
    except (RayStateApiException, requests.RequestException, ConnectionError, RuntimeError):
        return []
    return [
        {
            "ip": node.node_ip,
            "head": bool(node.is_head_node),
            "cpus": float((node.resources_total or {}).get("CPU", 0.0)),
            "gpus": float((node.resources_total or {}).get("GPU", 0.0)),
        }
        for node in nodes
    ]
