"""One stage of training on several devices: Ray Train starts a process for each and joins them with torch.distributed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dvcp.errors import ConfigError
from dvcp.training.loop import Schedule


def spread(stage: str, options: Mapping[str, Any], devices: int = 1) -> Path:
    """Run ``dvcp.training.stages.<stage>(**options)`` on so many devices, and return what it wrote.

    Args:
        options: plain values, since they travel; ``schedule`` as the fields of :class:`Schedule`.

    Raises:
        ConfigError: more than one device without Ray Train, or fewer GPUs than asked for.
    """
    if devices == 1:
        return _run({"stage": stage, **options})
    try:
        import ray
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer
    except ImportError as error:
        raise ConfigError("training on several devices needs Ray Train", hint="pip install 'dvcp[train]'") from error
    import torch

    from dvcp.training.stages import WEIGHTS

    gpus = torch.cuda.device_count()
    if 0 < gpus < devices:
        raise ConfigError(f"{devices} devices asked for, {gpus} GPUs here", hint=f"--devices {gpus}")
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=True, logging_level=logging.ERROR)
    out = Path(options["out"]).absolute()
    config = {"stage": stage, **options, "out": out}
    trainer = TorchTrainer(
        _work, train_loop_config=config, scaling_config=ScalingConfig(num_workers=devices, use_gpu=gpus > 0),
        run_config=RunConfig(name="run", storage_path=str(out / "ray")),
    )  # fmt: skip
    trainer.fit()
    return out / WEIGHTS


def _work(config: dict[str, Any]) -> None:
    """What each process runs; the weights are on disk."""
    _run(config)


def _run(config: dict[str, Any]) -> Path:
    from dvcp.training import stages

    options = dict(config)
    stages_by_name: dict[str, Callable[..., Path]] = {"local": stages.local, "descriptor": stages.descriptor, "fusion": stages.fusion}
    stage = stages_by_name[options.pop("stage")]
    return stage(**options | {"schedule": Schedule(*options["schedule"])})
