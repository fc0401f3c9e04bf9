"""Every kernel of the readers is compiled by warm_up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ASK = """
import importlib, json, pkgutil
import wildsage.data.kernels as package
from wildsage.data.warm import warm_up
from wildsage.kernels import kernel
for each in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(each.name)
warm_up()
# Parts of others, and what only parts call, are compiled into them.
print(json.dumps(kernel.missing("wildsage.data")))
"""


def test_no_kernel_is_left_to_the_first_job() -> None:
    source = Path(__file__).parents[2] / "src"
    environment = {**os.environ, "PYTHONPATH": str(source)}
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
