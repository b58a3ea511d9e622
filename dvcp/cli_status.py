"""``dvcp status``: how runs stand. Thin, as :mod:`dvcp.cli`."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from dvcp.cli_train import guarded
from dvcp.errors import ConfigError
from dvcp.runtime.status import Status, Verdict, now, read_runs

#: classes of dvcp's actors
_ACTORS = ("Decoder", "Matcher", "Propagator", "Writer", "Recorder", "_Reader")


def add_status_command(app: typer.Typer) -> None:
    """Give ``app`` the command status."""
    app.command("status")(guarded(status_command))


def status_command(
    outs: Annotated[list[str] | None, typer.Argument(metavar="[OUT...]", help="Output folders or files, local or s3://...")] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster to ask too: its nodes, what is free, dvcp's actors.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    watch: Annotated[float | None, typer.Option(min=1, metavar="N", help="Ask again every N seconds, until Ctrl-C.")] = None,
) -> None:
    """Say how the runs stand that write into these folders: films, frames, speed, time left, what was lost.

    Each run writes a small file into the folder of its outputs every five seconds, and removes it when it ends well, so anybody who can
    read the folder can ask, from any machine. A run that was killed is told as "no sign of life"; the same command that began it goes on
    where it was, and its note goes then.

    Exit codes, for cron: 0 all is well (or nothing runs there); 1 a run shows no sign of life, or films failed; 2 usage; 6 storage.
    """
    if not outs and not address:
        raise ConfigError("nothing to ask", hint="dvcp status OUT..., or --address auto for a Ray cluster")
    if watch is None:
        raise typer.Exit(_ask(outs or [], address, as_json))
    console = Console()
    while True:
        if console.is_terminal:
            console.clear()
        _ask(outs or [], address, as_json)
        time.sleep(watch)


def _ask(outs: list[str], address: str | None, as_json: bool) -> int:
    """Print how it stands once; returns the exit code."""
    at = now()
    found = {out: read_runs(out) for out in outs}
    cluster = _cluster(address) if address else None
    if as_json:
        runs = [asdict(s) | {"out": out, "verdict": s.verdict(at).value} for out, those in found.items() for s in those]
        typer.echo(json.dumps({"runs": runs} | ({"cluster": cluster} if cluster else {}), indent=2))
    else:
        for out, those in found.items():
            if not those:
                typer.echo(f"{out}: nothing is at work there")
            for status in those:
                _print(out, status, at)
        if cluster:
            for line in _told(cluster):
                typer.echo(line)
    return int(any(s.verdict(at) is not Verdict.WELL for those in found.values() for s in those))


def _print(out: str, s: Status, at: datetime) -> None:
    verdict = s.verdict(at)
    word = {Verdict.WELL: "at work", Verdict.SILENT: f"NO SIGN OF LIFE since {s.updated}", Verdict.FAILED: "at work, FILMS FAILED",
            Verdict.ENDED: f"ended {s.ended}, FILMS FAILED"}[verdict]  # fmt: skip
    left = "" if s.left_s is None or verdict is Verdict.SILENT or s.ended else f", about {_span(s.left_s)} left"
    typer.echo(f"{out}: {word}{left}\n  run {s.run} on {s.host}, pid {s.pid}, since {s.began}")
    rows = [
        ("films", f"{s.done} of {s.asked} done, {s.open} open, {s.failed} failed" + _names(s)),
        ("frames", f"{s.frames_done} done, {s.frames_to_do} to do in open films; {s.fps_minute:g}/s last minute, {s.fps:g}/s in all"),
        ("segments", f"{s.segments} committed, {s.lost} lost to dying processes and begun again, {s.given_up} given up"),
        ("actors", f"lanes {s.lanes[0]} of {s.lanes[1]} up, matchers {s.matchers[0]} of {s.matchers[1]} up"),
        ("pools", ", ".join(f"{name} {p.fps:g}/s {p.busy:.0%} busy" for name, p in s.pools.items()) or "no segment has ended yet"),
        ("memory", f"{_size(s.queue_bytes)} waiting in object stores, {_size(s.spilled_bytes)} spilled to disk"),
    ]
    for name, text in rows:
        typer.echo(f"  {name:9} {text}")
    if s.under_way:
        table = Table("film", "stage", "done", "slowest shot", box=None, pad_edge=False, padding=(0, 2))
        for film in s.under_way:
            share = f"{film.done / film.frames:.0%} of {film.frames}" if film.frames else "-"
            table.add_row(film.film, film.stage, share, f"{film.shot}: {film.left} frames left" if film.left else "-")
        # Wide, because lines broken by a pipe's eighty columns cannot be searched.
        console = Console(width=None if Console().is_terminal else 200, highlight=False)
        with console.capture() as shown:
            console.print(table)
        typer.echo("\n".join(f"  {line.rstrip()}" for line in shown.get().splitlines()))


def _names(s: Status) -> str:
    if not s.failures:
        return ""
    more = f" and {s.failed - len(s.failures)} more" if s.failed > len(s.failures) else ""
    return f" ({', '.join(s.failures)}{more})"


def _span(seconds: int) -> str:
    minutes = round(seconds / 60)
    return f"{seconds} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def _size(count: int | None) -> str:
    if count is None:
        return "? B"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _cluster(address: str) -> dict[str, Any]:
    """Nodes, resources and actors of a Ray cluster.

    Raises:
        ConfigError: no cluster answers at the address.
    """
    import ray

    from dvcp.runtime.cluster import connected
    from dvcp.runtime.settings import PoolSettings

    with connected(PoolSettings(address)):
        nodes = [
            {"address": n["NodeManagerAddress"], "alive": n["Alive"], "resources": _plain(n["Resources"]), "metrics": _endpoint(n)}
            for n in ray.nodes()
        ]
        return {
            "address": address, "nodes": nodes, "resources": _plain(ray.cluster_resources()), "free": _plain(ray.available_resources()),
            "actors": _actors(),
        }  # fmt: skip


def _endpoint(node: dict[str, Any]) -> str | None:
    """Where Prometheus finds a node; None where Ray came without its exporter."""
    port = node.get("MetricsExportPort") or 0
    return f"{node['NodeManagerAddress']}:{port}" if node["Alive"] and port > 0 else None


def _plain(resources: dict[str, float]) -> dict[str, float]:
    return {name: round(count, 3) for name, count in sorted(resources.items()) if ":" not in name and "_group_" not in name}


def _actors() -> dict[str, dict[str, int]] | None:
    """By class, how many actors of dvcp are in which state; None where the cluster has no dashboard to ask."""
    from ray.util.state import list_actors

    try:
        told = list_actors(filters=[("state", "!=", "DEAD")], limit=10_000, timeout=10, raise_on_missing_output=False)
    except Exception:  # each way of not being there has its own kind
        return None
    found: dict[str, Counter[str]] = {}
    for actor in told:
        if actor.class_name in _ACTORS:
            found.setdefault(actor.class_name.strip("_").lower(), Counter())[str(actor.state).lower()] += 1
    return {name: dict(states) for name, states in sorted(found.items())}


def _told(cluster: dict[str, Any]) -> list[str]:
    alive, free = [n for n in cluster["nodes"] if n["alive"]], cluster["free"]
    lines = [f"Ray at {cluster['address']}: {len(alive)} nodes alive, {len(cluster['nodes']) - len(alive)} gone"]
    shown = [name for name in ("CPU", "GPU") if name in cluster["resources"]]
    lines.append("  free      " + ", ".join(f"{free.get(name, 0):g} of {cluster['resources'][name]:g} {name}" for name in shown))
    actors = cluster["actors"]
    if actors is None:
        text = "unknown: the cluster has no dashboard (ray[default])"
    else:
        kinds = (f"{name} " + ", ".join(f"{n} {state}" for state, n in states.items()) for name, states in actors.items())
        text = "; ".join(kinds) or "none of dvcp"
    lines.append(f"  actors    {text}")
    ends = [n["metrics"] for n in alive if n["metrics"]]
    lines.append(f"  metrics   {', '.join(ends[:8]) + (' ...' if len(ends) > 8 else '') if ends else 'no exporter (ray[default])'}")
    return lines
