"""What the benchmarks' tables are made of."""

import json
from collections.abc import Iterable
from typing import Any


def row(name: str, value: float, unit: str, target: str, holds: bool | None, **detail: Any) -> dict[str, Any]:
    """One row of the table."""
    return {
        "name": name,
        "value": round(value, 3),
        "unit": unit,
        "target": target,
        "holds": holds,
        "detail": detail,
    }


def show(rows: "Iterable[dict[str, Any]]", *, as_json: bool) -> None:
    """Print rows: for the runner, or a line each for people."""
    if as_json:
        print(json.dumps(list(rows), indent=2))
        return
    for item in rows:
        print(f"{item['name']}: {item['value']} {item['unit']} ({item['target']}), {item['detail']}")
