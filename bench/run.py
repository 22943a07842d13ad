"""All benchmarks, as Markdown: `make bench`. One of them alone: `python -m bench.chat_calls`."""

import os
import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench import (  # the folder is not installed
    chat_calls,
    flow_calls,
    flow_sizes,
    functional_calls,
    module_calls,
    start_up,
    state_calls,
    state_files,
    tensor_calls,
    tensor_runtime,
    tensor_training,
)

TITLES = {
    module_calls: "A module's call",
    flow_calls: "Flows, beside LazyLLM",
    flow_sizes: "Large flows",
    functional_calls: "Many calls at once",
    state_calls: "Versions",
    state_files: "State files",
    tensor_calls: "Tensors, beside numpy",
    tensor_runtime: "A forward planned once",
    tensor_training: "A training step, beside PyTorch",
    start_up: "Start-up",
    chat_calls: "A chat call, against a stub that answers at once",
}

if __name__ == "__main__":
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for benchmark, title in TITLES.items():
        print(f"\n## {title}\n", *benchmark.main(), sep="\n", flush=True)
