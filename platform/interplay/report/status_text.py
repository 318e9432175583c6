"""A study's status for a person: lines of a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from interplay.tracking.store import EARLIER_DIVERGED

MOST_SHOWN = 20
_ORDER = ("finished", "running", "waiting", "pruned", "diverged", EARLIER_DIVERGED, "failed", "out_of_memory")


def status_text(status: Mapping[str, Any]) -> str:
    """`StudyStatus.plain()`, which may hold the job that runs it and the cluster's nodes, in lines."""
    done = status["total"] - status["cells"].get("running", 0) - status["cells"].get("waiting", 0)
    job = f", job {status['job']} {status['job_status']}" if "job" in status else ""
    counts = [f"{status['cells'][name]} {name.replace('_', ' ')}" for name in _ORDER if status["cells"].get(name)]
    lines = [
        f"{status['study']}: {status['kind']}, {status['state']}{job}",
        f"{done} of {status['total']} cells done: {', '.join(counts) or 'none begun'}",
    ]
    if status["used"] is not None:
        lines.append(f"used: {_amounts(status['used'])}")
    if status["left"]:
        lines.append(f"left of the budget: {_amounts(status['left'])}")
    if status["to_go"]:
        lines.append(f"to go: about {_amounts(status['to_go'])}")
    if status["eta_s"] is not None:
        lines.append(f"complete in about {duration(status['eta_s'])}")
    running = status["running"]
    lines += [_cell(cell) for cell in running[:MOST_SHOWN]]
    if len(running) > MOST_SHOWN:
        lines.append(f"  and {len(running) - MOST_SHOWN} more")
    if status["hosts"]:
        lines.append("on: " + ", ".join(f"{host or 'unknown'} ({count})" for host, count in status["hosts"].items()))
    if "nodes" in status:
        lines.append(f"nodes: {_nodes(status['nodes'])}")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """`3 d 4 h`, `2 h 05 min`, `40 s`."""
    minutes, s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {s:02d} s" if minutes else f"{s} s"


def _cell(cell: Mapping[str, Any]) -> str:
    metrics = "  ".join(f"{name} {value:.4g}" for name, value in cell["metrics"].items())
    silent = f"  silent for {duration(cell['silent_s'])}" if cell["silent_s"] > 120 else ""
    return f"  {cell['label']}: epoch {cell['epoch']}/{cell['epochs']}  {metrics}{silent}".rstrip()


def _amounts(amounts: Mapping[str, Any]) -> str:
    units = {"hours": "h on the clock", "cpu_hours": "CPU-hours", "gpu_hours": "GPU-hours", "cost": "money"}
    return ", ".join(f"{amounts[key]:.3g} {unit}" for key, unit in units.items() if amounts.get(key) is not None)


def _nodes(nodes: Sequence[Mapping[str, Any]]) -> str:
    """`1 head, 2 with 1 GPU each`."""
    heads = sum(bool(node["head"]) for node in nodes)
    kinds: dict[str, int] = {}
    for node in nodes:
        if not node["head"]:
            kind = f"{node['gpus']:g} GPU" if node["gpus"] else f"{node['cpus']:g} CPU"
            kinds[kind] = kinds.get(kind, 0) + 1
    workers = [f"{count} with {kind}" for kind, count in sorted(kinds.items())]
    return ", ".join([f"{heads} head", *(workers or ["no workers"])])
