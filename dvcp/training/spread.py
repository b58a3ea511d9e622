"""One stage of training on several devices: Ray Train starts a process for each and joins them with torch.distributed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dvcp.errors import ConfigError, DvcpError
from dvcp.runtime.cluster import connected
from dvcp.runtime.settings import PoolSettings
from dvcp.training.loop import Schedule


def spread(stage: str, options: Mapping[str, Any], devices: int = 1) -> Path:
    """Run ``dvcp.training.stages.<stage>(**options)`` on so many devices, and return what it wrote.

    Args:
        options: plain values, since they travel; ``schedule`` as the fields of :class:`Schedule`.

    Raises:
        ConfigError: more than one device without Ray Train, more than there are, or a batch they cannot share evenly.
        DvcpError: what the stage itself found wrong.
    """
    if devices == 1:
        return _run({"stage": stage, **options})
    try:
        from ray.train import RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.torch import TorchTrainer
    except ImportError as error:
        raise ConfigError("training on several devices needs Ray Train", hint="pip install 'dvcp[train]'") from error
    import torch

    from dvcp.training.stages import WEIGHTS

    batch = Schedule(*options["schedule"]).batch
    if batch % devices:
        raise ConfigError(f"a batch of {batch} on {devices} devices", hint=f"--batch {-(-batch // devices) * devices}")
    gpus = torch.cuda.device_count()
    here, kind = (gpus, "GPUs") if gpus else (os.cpu_count() or 1, "CPU cores")
    if here < devices:
        # Ray would wait for ever for what is not there.
        raise ConfigError(f"{devices} devices asked for, {here} {kind} here", hint=f"--devices {here}")
    out = Path(options["out"]).absolute()
    config = {"stage": stage, **options, "out": out}
    with connected(PoolSettings(), log_to_driver=True):
        trainer = TorchTrainer(
            _work, train_loop_config=config, scaling_config=ScalingConfig(num_workers=devices, use_gpu=gpus > 0),
            run_config=RunConfig(name="run", storage_path=str(out / "ray")),
        )  # fmt: skip
        try:
            trainer.fit()
        except TrainingFailedError as error:
            raise _told(error) from error
    return out / WEIGHTS


def _told(error: BaseException) -> BaseException:
    """What a person can mend, where one of the processes said it."""
    for failure in getattr(error, "worker_failures", {}).values():
        found: BaseException | None = failure
        while found is not None and not isinstance(found, DvcpError):
            found = getattr(found, "cause", None) or found.__cause__
        if found is not None:
            return found
    return error


def _work(config: dict[str, Any]) -> None:
    """What each process runs; the weights are on disk."""
    _run(config)


def _run(config: dict[str, Any]) -> Path:
    from dvcp.training import stages

    options = dict(config)
    known: tuple[Callable[..., Path], ...] = (
        stages.local,
        stages.descriptor,
        stages.fusion,
        stages.exemplar,
        stages.colorizer,
        stages.tcvc,
    )
    stages_by_name = {stage.__name__: stage for stage in known}
    stage = stages_by_name[options.pop("stage")]
    return stage(**options | {"schedule": Schedule(*options["schedule"])})
