"""What the benchmarks' tables are made of."""

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
