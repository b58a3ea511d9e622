"""What a person may say about the actors of a run. Without Ray, whose import takes longer than most commands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PoolSettings:
    """How many actors and what each gets.

    Attributes:
        address: of a Ray cluster; None starts one on this machine.
        propagators: 0 = one a GPU, or one for every four CPU cores (at least one).
        matchers: 0 = as many as propagators.
        propagator_gpus, matcher_gpus: GPUs each holds, fractions allowed; None = half a GPU each where the cluster has any, else 0.
        threads: CPU threads of each network actor; 0 = ``DVCP_NETWORK_THREADS``, or 4, or all cores of a machine that has fewer.
    """

    address: str | None = None
    propagators: int = 0
    matchers: int = 0
    propagator_gpus: float | None = None
    matcher_gpus: float | None = None
    threads: int = 0
