"""What Grafit's memory and its rankings cost: one step over all of ImageNet, and queries against it.

    python tests/bench/grafit.py [IMAGES] [WIDTH]

The floor is the time that the memory's bytes take at the speed of a large copy, measured here: a step has to read
every row once.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable

import torch

from interplay.recipe import ByNearest
from interplay.retrieval import Embedded, score
from interplay.training import Ranks
from interplay.training.grafit.memory import Memory, memory_bytes
from interplay.training.grafit.neighbours import neighbour_loss

CLASSES = 127


def seconds(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """The least wall and processor seconds of some repeats: other processes take some of the former."""
    found = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(w for w, _ in found), min(c for _, c in found)


def main(images: int, width: int) -> None:
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    rows = torch.nn.functional.normalize(torch.randn(images, width, device=device), dim=1)
    labels = torch.arange(images, device=device) % CLASSES
    memory = Memory(width, Ranks(), torch.zeros(1, device=device))
    index = torch.arange(images, device=device)
    memory.fill(Embedded(rows, labels[:, None], labels, index))
    state = memory.state()
    tables = (memory.labels, memory.places, memory.label_of, memory.place_of, state["index"], state["labels"])
    held = sum(part.nbytes for part in (memory.rows, memory.inverse_norms, *tables))
    stated = memory_bytes(images, width, 1)
    print(f"memory of {images:,} x {width}: {held / 1e6:.0f} MB held, {stated / 1e6:.0f} MB stated")
    copy, _ = seconds(memory.rows.clone, 5)
    read = memory.rows.nbytes
    print(f"copy of the rows: {copy * 1e3:.0f} ms, {2 * read / copy / 1e9:.1f} GB/s read and written")
    floor = copy / 2
    for batch in (1, 8, 64):
        queries = rows[:batch].clone().requires_grad_()

        def step(queries: torch.Tensor = queries, batch: int = batch) -> None:
            loss = neighbour_loss(queries, index[:batch], memory, 0.05, Ranks())
            loss.backward()  # type: ignore[no-untyped-call]
            memory.update(index[:batch], queries.detach(), 0.5)

        wall, cpu = seconds(step, 3)
        flops = 3 * 2 * batch * images * width
        print(
            f"kNN loss, {batch:3d} images: {wall:.2f} s wall, {cpu:.2f} s processor, floor {floor:.2f} s, "
            f"{flops / cpu / 1e9:.0f} GFLOP per processor second"
        )
    gallery = Embedded(rows, labels[:, None], labels, index)
    for count in (1, 16):
        part = gallery_part(gallery, count)

        def ask(part: Embedded = part) -> object:
            return score(part, gallery, ByNearest())

        wall, cpu = seconds(ask, 2)
        print(f"kNN and mAP, {count:3d} queries: {wall:.2f} s wall, {cpu:.2f} s processor")
    print(f"most memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def gallery_part(gallery: Embedded, count: int) -> Embedded:
    """Its first images as queries."""
    return Embedded(*(part[:count] for part in (gallery.vectors, gallery.levels, gallery.trained, gallery.index)))


if __name__ == "__main__":
    main(*map(int, (sys.argv[1:] or ["1300000", "256"])[:2]))
