import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

from devices.version import software_version

ROOT = Path(__file__).parent.parent.parent


def test_the_version_is_that_of_the_installed_package() -> None:
    assert software_version() == importlib.metadata.version("gatehouse")


def test_sources_that_were_never_installed_have_a_version_too(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "devices", tmp_path / "devices")
    program = "from devices.version import software_version; print(software_version())"

    done = subprocess.run(
        [sys.executable, "-S", "-c", program],  # -S: nothing that was installed is on the path
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )

    assert done.stdout.strip() == "0"
