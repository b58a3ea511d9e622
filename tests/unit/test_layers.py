"""Who imports what: the core lives without Ray and Prefect, and no command waits for torch or Ray before it needs them."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("dvcp.loop", ["ray", "prefect", "torch", "av"]),
        ("dvcp.methods", ["ray", "prefect", "torch", "av"]),
        ("dvcp.methods.baselines", ["ray", "prefect", "torch", "av"]),
        ("dvcp.methods.dvcp", ["ray", "prefect", "av"]),
        ("dvcp.runtime.schedule", ["ray", "prefect", "torch", "av"]),
        ("dvcp.runtime.work", ["ray", "prefect", "torch"]),
        ("dvcp.evaluation.run", ["ray", "prefect"]),
        # 3.5 s of every command, and of every actor that only reads or writes; Ray is another second.
        ("dvcp.cli", ["torch", "ray", "prefect"]),
        ("dvcp.runtime.job", ["torch", "ray", "prefect"]),
        ("dvcp.runtime.actors", ["torch", "prefect"]),
        ("dvcp.runtime.batch", ["torch", "prefect"]),
        ("dvcp.runtime.write", ["torch", "prefect"]),
    ],
)
def test_imports(module: str, without: list[str]) -> None:
    code = f"import sys, {module}; print(*sorted(set({without}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
