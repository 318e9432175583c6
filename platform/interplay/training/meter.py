"""The device of a job: its name, and the most of its memory that was used."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def device_name(device: torch.device, threads: int | None = None) -> str:
    """As evidence has it; `threads` of a CPU are torch's if none are given."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {threads or torch.get_num_threads()} threads"


class PeakMemory:
    """Largest memory use since this object was made: the device's on CUDA, the process's on CPU (Linux).

    A process that trains one cell after another would otherwise report the largest of all of them.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            # not Linux, or not permitted: the mark then covers the process's whole life
            with suppress(OSError):
                _CLEAR.write_text("5")  # resets the kernel's high-water mark of this process

    def megabytes(self) -> float | None:
        """None where the system does not tell."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 2**20
        try:
            peak = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
        except OSError:
            return None
        return int(peak.group(1)) / 1024 if peak else None
