"""Prints what pyproject.toml asks for: its dependencies, and those of the extras that are named.

    python requirements.py cpu,otel

pip has no option that installs these without the project, and with them in a layer of their own a
changed line of code neither installs nor uploads them again.
"""

import sys
import tomllib
from pathlib import Path


def requirements(pyproject: str, extras: list[str]) -> list[str]:
    """The requirements of a project with some of its extras, each once."""
    project = tomllib.loads(pyproject)["project"]
    named = [line for extra in extras for line in project["optional-dependencies"][extra]]
    return list(dict.fromkeys([*project["dependencies"], *named]))


if __name__ == "__main__":
    sys.stdout.writelines(
        f"{line}\n"
        for line in requirements(Path("pyproject.toml").read_text(), sys.argv[1].split(","))
    )
