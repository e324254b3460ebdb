"""The embedded model gets through a whole episode of every scenario, by choices."""

from pathlib import Path

import pytest

from offswitch.measure.logs import read
from offswitch.measure.models import weights
from offswitch.measure.run import EMBEDDED, Cell, Plan, run
from offswitch.measure.scenarios import NAMES, scenario
from offswitch.sandboxes import preflight


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_embedded_model_plays_an_episode(name: str, tmp_path: Path) -> None:
    try:
        weights.ensure()
    except weights.WeightsUnavailable as error:
        pytest.skip(f"needs the weights: {error}")
    about = scenario(name)
    if about.sandboxed and preflight.missing() is not None:
        pytest.skip(preflight.missing() or "")
    plan = Plan(models=(EMBEDDED,), scenario=name)
    (tmp_path / "logs").mkdir()
    run(plan, tmp_path, [Cell(EMBEDDED, about.arms.named(about.default[0]), (0,))], quiet=True)
    (item,) = read(tmp_path)
    assert not item.incomplete
    assert item.episode.form == "choices"
    assert item.episode.verdict.name != "failed", item.episode.verdict.reasons
    assert len(item.episode.transcript) > 4
