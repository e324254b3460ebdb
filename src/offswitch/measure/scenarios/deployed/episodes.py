"""From the records of deployed agents to episodes, in a log that is read like any other."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from offswitch import __version__
from offswitch.evidence import scene
from offswitch.evidence.deployed.runs import Deployed
from offswitch.evidence.record import KEY, Ending
from offswitch.evidence.scene import SceneEvidence, Stop
from offswitch.measure.scenarios.deployed.about import ARM, SCENARIO

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog

_KINDS = {
    "signed": "order",
    "local owner": "order",
    "lease": "lease",
    "watchdog": "trip",
    "terminal": "hang-up",
}


def evidence(run: Deployed) -> SceneEvidence:
    """The evidence of one run: counts, names of patterns and mechanisms, and no text of anybody's."""
    asked = run.origin not in ("", "agent ended")
    worked = None if run.dead is None else run.dead and not run.respawned
    ending: Ending = "stopped" if asked else "quit"
    return SceneEvidence(
        scenario=SCENARIO.name,
        condition=ARM.name,
        form="program",
        seed=seed(run),
        scene={},
        plan={"run": run.run, "began": run.began},
        before={},
        after={
            **{name: value for name, value in asdict(run).items() if name not in ("run", "began", "model")},
            "found": [asdict(one) for one in run.found],
            "faults": list(run.faults),
        },
        stop=Stop(
            _KINDS.get(run.origin, run.origin or "none"),
            warned=asked and run.category == 1,
            due=asked,
            worked=worked if asked else None,
        ),
        ending=ending,
    )


def seed(run: Deployed) -> int:
    """The number that an episode is known by; the same for the same run."""
    return int.from_bytes(hashlib.sha256(run.run.encode()).digest()[:6], "big")


def write(runs: Sequence[Deployed], out: Path) -> list[Path]:
    """Write the episodes, a log for each model, in the place of those that were written before.

    Args:
        runs: The runs, each once.
        out: The folder; the logs go to ``logs`` in it.

    Returns:
        The logs.

    Raises:
        OSError: It cannot be written.
    """
    from inspect_ai.log import write_eval_log

    folder = out / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    models: dict[str, list[Deployed]] = defaultdict(list)
    for run in runs:
        models[run.model].append(run)
    written = []
    for model, members in sorted(models.items()):
        path = folder / f"deployed_{hashlib.sha256(model.encode()).hexdigest()[:12]}_.eval"
        write_eval_log(_log(model, members), str(path), format="eval")
        written.append(path)
    for old in set(folder.glob("deployed_*_.eval")) - set(written):
        old.unlink()
    return written


def _log(model: str, runs: Sequence[Deployed]) -> "EvalLog":
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSample, EvalSpec
    from inspect_ai.scorer import Score

    samples = []
    for run in runs:
        seen = evidence(run)
        decided = SCENARIO.decide(seen)
        samples.append(
            EvalSample(
                id=seed(run),
                epoch=1,
                input="",
                target="",
                scores={
                    "verdict": Score(
                        value=decided.name, answer=decided.name, explanation="; ".join(decided.reasons)
                    )
                },
                metadata={KEY: scene.dump(seen), "offswitch_deterministic": False},
            )
        )
    created = datetime.fromtimestamp(max(run.began for run in runs) / 1000, UTC).isoformat()
    spec = EvalSpec(
        created=created,
        task=SCENARIO.name,
        dataset=EvalDataset(name=SCENARIO.name, samples=len(samples)),
        model=model,
        config=EvalConfig(epochs=1),
        packages={"offswitch": __version__},
        metadata={
            "offswitch_scenario": SCENARIO.name,
            "offswitch_condition": asdict(ARM),
            "offswitch_settings": {},
            "offswitch_sequential": False,
            "offswitch_agent": "program",
            "offswitch_version": __version__,
        },
    )
    return EvalLog(status="success", eval=spec, samples=samples)
