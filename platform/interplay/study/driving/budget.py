"""What a study may use: hours on the clock, GPU-hours, money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from interplay.errors import InterplayError

CPU, GPU = "cpu", "gpu"


@dataclass(frozen=True)
class Prices:
    """Money for an hour of one CPU and of one GPU, in any one currency.

    Attributes:
        cpu: of a CPU.
        gpu: of a GPU of which the table says nothing else; None if it must say.
        accelerators: of a GPU by its type as Ray calls it (`A10G`, `H100`), found in the device's name.
    """

    cpu: float = 0.0
    gpu: float | None = None
    accelerators: dict[str, float] = field(default_factory=dict)

    def of_gpu(self, device: str) -> float:
        """For an hour of a GPU whose name is `device`; the dearest there is if the table does not know it."""
        for name, price in self.accelerators.items():
            if name.lower() in device.lower():
                return price
        return self.gpu if self.gpu is not None else max(self.accelerators.values(), default=0.0)

    def cost(self, cpu_hours: float, gpu_hours: Mapping[str, float]) -> float:
        """Of so many hours; those of GPUs by the device's name."""
        return self.cpu * cpu_hours + sum(self.of_gpu(device) * hours for device, hours in gpu_hours.items())


def parse_prices(text: str) -> Prices:
    """`cpu=0.05,gpu=2.1,A10G=1.2`, or a YAML file of the same names.

    Raises:
        InterplayError: if it is neither.
    """
    if "=" in text:
        pairs: Any = dict(part.split("=", 1) for part in text.split(",") if "=" in part)
        if len(pairs) != len(text.split(",")):
            raise InterplayError(f"--price {text} is not NAME=PRICE,NAME=PRICE; for example cpu=0.05,gpu=2.1")
    else:
        try:
            pairs = yaml.safe_load(Path(text).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            reason = (str(error).splitlines() or [""])[0]
            raise InterplayError(
                f"--price {text} is no price table ({reason}); give cpu=0.05,gpu=2.1 or a YAML file of these"
            ) from None
    if not isinstance(pairs, dict) or not pairs:
        raise InterplayError(f"--price {text} holds no prices; it maps cpu, gpu and accelerator types to numbers")
    found = {str(name): _price(str(name), value) for name, value in pairs.items()}
    return Prices(found.pop(CPU, 0.0), found.pop(GPU, None), found)


def _price(name: str, value: object) -> float:
    try:
        price = float(str(value))
    except ValueError:
        price = -1.0
    if not 0.0 <= price < float("inf"):
        raise InterplayError(f"the price of {name} is {value!r}; it must be a number from 0 on, for one hour")
    return price


@dataclass(frozen=True)
class Use:
    """What a study has used, over all its runs.

    Attributes:
        hours: with a driver running.
        cpu_hours: of the cells it trained, every attempt counted.
        gpu_hours: likewise.
        cost: at the given prices; None without them.
        attempts: how often a cell was begun or gone on with.
        lost: attempts whose process or driver died.
    """

    hours: float = 0.0
    cpu_hours: float = 0.0
    gpu_hours: float = 0.0
    cost: float | None = None
    attempts: int = 0
    lost: int = 0


@dataclass(frozen=True)
class Budget:
    """Limits of a study, counted over all its runs; None is no limit.

    Attributes:
        hours: on the clock, while a driver runs.
        gpu_hours: of all attempts of all cells that this study trained.
        cost: at `prices`.
        prices: of CPUs and GPUs.
        hard: when the budget is used up, running cells stop at a checkpoint; otherwise they end.
    """

    hours: float | None = None
    gpu_hours: float | None = None
    cost: float | None = None
    prices: Prices | None = None
    hard: bool = False

    def check(self, gpus: float) -> None:
        """Refuses limits that cannot be kept by cells that use `gpus` GPUs.

        Raises:
            InterplayError: saying what to give.
        """
        for name, limit in (("max-hours", self.hours), ("max-gpu-hours", self.gpu_hours), ("max-cost", self.cost)):
            if limit is not None and not 0.0 < limit < float("inf"):
                raise InterplayError(f"--{name} {limit:g} is no budget; give a number above 0, or leave it out")
        if self.gpu_hours is not None and not gpus:
            raise InterplayError("--max-gpu-hours limits nothing when cells use no GPU; give --gpus or leave it out")
        if self.cost is None:
            return
        if self.prices is None:
            raise InterplayError("--max-cost needs prices; add --price cpu=0.05,gpu=2.1 (for an hour of one)")
        if gpus and self.prices.gpu is None and not self.prices.accelerators:
            raise InterplayError("--price says nothing of GPUs, and cells use them; add gpu=PRICE")
        if not gpus and not self.prices.cpu:
            raise InterplayError("--price says nothing of CPUs, and cells use nothing else; add cpu=PRICE")

    def used_up(self, use: Use) -> str:
        """A sentence if nothing is left; empty otherwise."""
        for option, unit, limit, used in self._limits(use):
            if limit is not None and used >= limit:
                return f"the study has used {used:.4g} of its {limit:g} {unit}; raise {option} to go on"
        return ""

    def plain(self, use: Use) -> dict[str, Any]:
        """What was used and what is left, for a report."""
        left = {
            unit.lower().replace("-", "_"): max(0.0, limit - used)
            for _, unit, limit, used in self._limits(use)
            if limit is not None
        }
        return {"used": asdict(use), "left": left}

    def _limits(self, use: Use) -> list[tuple[str, str, float | None, float]]:
        return [
            ("--max-hours", "hours", self.hours, use.hours),
            ("--max-gpu-hours", "GPU-hours", self.gpu_hours, use.gpu_hours),
            ("--max-cost", "cost", self.cost, use.cost or 0.0),
        ]


def budget_of(plain: dict[str, Any]) -> Budget:
    """A budget as `dataclasses.asdict` wrote it."""
    prices = plain.get("prices")
    return Budget(**{**plain, "prices": Prices(**prices) if prices else None})


def use_text(plain: dict[str, Any]) -> str:
    """`Budget.plain` in one line: what was used, and of a limited kind what is left."""
    used, left = plain["used"], plain["left"]
    parts = [f"{used['hours']:.3g} hours", f"{used['cpu_hours']:.3g} CPU-hours"]
    if used["gpu_hours"]:
        parts.append(f"{used['gpu_hours']:.3g} GPU-hours")
    if used["cost"] is not None:
        parts.append(f"cost {used['cost']:.3g}")
    rest = [f"{amount:.3g} {name.replace('_', '-')}" for name, amount in left.items()]
    return f"used: {', '.join(parts)}" + (f"; left: {', '.join(rest)}" if rest else "")
