"""Work managers whose engine takes several messages of a key ahead."""

from __future__ import annotations

from pyrallel_consumer.control_plane.policies import WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from tests.unit.control_plane.builders import TP, keyed, manager_of, run_of

AHEAD = WorkPolicy(is_sending_ahead=True)


def with_runs(keys: str, most: int = 3, policy: WorkPolicy = AHEAD) -> WorkManager:
    manager = manager_of(policy=policy)
    manager.allow_runs(most)
    manager.add(TP, 1, run_of(keyed(0, keys)))
    return manager
