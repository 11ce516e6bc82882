"""Fetches what the tests need beyond pip: Kafka's jars, and as root on Debian the programs of APT_PACKAGES.

Elsewhere it names what is missing; the tests that need it are skipped, on a laptop. In CI they fail.
"""

import os
import shutil
import subprocess
import sys

from common.embedded_kafka import KafkaStartError
from common.programs import ProgramFailed
from tests import java_cache

APT_PACKAGES = {
    "chromium": "chromium",
    "curl": "curl",
    "iptables": "iptables",
    "tc": "iproute2",
    "wrk": "wrk",
}  # program: Debian package
APT_SECONDS = 600


def missing() -> list[str]:
    """Return the programs that are not installed."""
    return [program for program in APT_PACKAGES if not shutil.which(program)]


def main() -> int:
    """Install what is missing where that is allowed, and say what is still missing."""
    if missing() and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        packages = [APT_PACKAGES[program] for program in missing()]
        print(f"Installing {', '.join(packages)} with apt ...", flush=True)
        quiet = {"stdout": subprocess.DEVNULL, "env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}}
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            subprocess.run(["apt-get", "-qq", *command], timeout=APT_SECONDS, check=False, **quiet)
    for program in missing():
        print(f"{program} is missing; the tests that need it are skipped. Debian's package: {APT_PACKAGES[program]}")
    try:
        java_cache.make()
    except (KafkaStartError, ProgramFailed) as error:  # the tests that need Kafka say so themselves
        print(f"No cache for Java: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
