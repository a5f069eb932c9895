"""``twotower train --from``."""

from __future__ import annotations

import asyncio
from pathlib import Path

from twotower.cli.output import log, print_json, say
from twotower.cli.progress import training_progress
from twotower.core.wording import count_of


def continue_from(path: Path, events: str, out: Path | None, *, full_gap: bool, as_json: bool) -> None:
    """Continue a run on events, and print what it gained."""
    from twotower.recommender.drift import drift_said  # noqa: PLC0415
    from twotower.server.exporting import exported  # noqa: PLC0415
    from twotower.server.offline_store import is_store, store_at  # noqa: PLC0415
    from twotower.workflows import Run  # noqa: PLC0415
    from twotower.workflows.continuing import CONTINUED, continue_run  # noqa: PLC0415
    from twotower.workflows.event_table import EventTable, mark_in  # noqa: PLC0415

    run = Run.finished(path)
    model = run.recommender(index=False)
    if is_store(events) or not Path(events).expanduser().is_file():
        known = run.config().data.events
        after = None if known is None else mark_in(known)
        table = asyncio.run(exported(store_at(events), model, after=after))
    else:
        table = EventTable.read(Path(events).expanduser(), model.encoder.schema)
    with training_progress() as callbacks:
        done = continue_run(path, table, out, full_gap=full_gap, callbacks=callbacks, log=log)
    if as_json:
        print_json({"run": str(done.run.path), "new": done.new, **done.metrics})
        return
    if not done.new:
        return
    said = done.metrics[CONTINUED]
    say(
        f"{count_of(said['events'], 'event')}, {count_of(said['new_users'], 'new user')} and "
        f"{count_of(said['new_items'], 'new item')}; "
        f"{said['cpu_seconds']:.1f} CPU seconds"
    )
    say(f"drift of the events from the earlier training set, 0 to 1: {drift_said(said['drift'])}")
    if "ranker" in said:
        say(said["ranker"])
    for kind in ("rating", "ranking"):
        for name, of in done.metrics[kind].items():
            if not shown(name):
                continue
            line = f"test {name}: {of['value']:.4f}, before {said['before'][kind][name]['value']:.4f}"
            if full_gap:
                line += f", trained from the beginning {said['full'][kind][name]['value']:.4f}"
            say(line)
    if full_gap:
        share = said["cpu_seconds"] / said["full"]["cpu_seconds"]
        say(f"continuing took {share:.0%} of the CPU time of training from the beginning")
    say(f"saved in {done.run.path}; a server of it loads it on SIGHUP or POST /v1/admin/reload")


def shown(name: str) -> bool:
    """Return whether a metric is printed: the error, NDCG or recall."""
    return name.startswith(("rmse", "mae", "ndcg@", "recall@"))
