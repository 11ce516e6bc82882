"""The machine that figures come from: what a reader needs to judge them, and nothing that names the machine."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from common.embedded_kafka.jars import KAFKA

LIBRARIES = (
    *("scikit-learn", "numpy", "pydantic", "msgspec", "confluent-kafka"),
    *("fastapi", "starlette", "uvicorn", "uvloop", "httptools"),
)

Machine = dict[str, Any]


def machine() -> Machine:
    """Return cores, memory, system, versions, and how busy the machine was already."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": round(psutil.getloadavg()[0], 1),
        "python": platform.python_version(),
        "kafka": KAFKA.rpartition(":")[2],
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
    }


def describe(machine: Machine) -> str:
    """Return one line: `2 cores, 24 GB, Linux x86_64, Python 3.11.7, Kafka 4.3.1, numpy 2.4.6`."""
    processor = f" ({machine['processor']})" if machine.get("processor") else ""
    parts = [f"{machine['cores']} cores{processor}", f"{machine['memory_gb']} GB", machine["system"]]
    parts += [f"{name.title()} {machine[name]}" for name in ("python", "kafka") if name in machine]
    return ", ".join(parts + [f"{name} {found}" for name, found in machine["libraries"].items()])


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
