"""Keys, orders and JSON values for the tests of `offswitch.trust`."""

from hypothesis import strategies as st

from offswitch.trust.keys import PrivateKey, PublicKey
from offswitch.trust.orders import Order

NOW = 1_800_000_000_000
ALICE, BOB, CAROL, DAVE, MALLORY = (PrivateKey(bytes([number]) * 32) for number in range(1, 6))
TRUSTED: dict[str, PublicKey] = {key.id: key.public for key in (ALICE, BOB, CAROL, DAVE)}

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
CANONICAL = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
# All that json.loads can give: NaN, infinities, huge integers and halves of surrogate pairs too.
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


def order(**fields: object) -> Order:
    """A good order for the run "r1" of the agent "ci", with some fields of it changed."""
    action = fields.get("action", "stop")
    given: dict[str, object] = {
        "action": action,
        "agent": "ci",
        "run": "r1",
        "issued": NOW,
        "expires": NOW + 300_000,
        "counter": 7,
    }
    if action == "renew":
        given["lease_s"] = 1800
    if action == "policy":
        given["digest"] = "ab" * 32
    return Order(**(given | fields))  # type: ignore[arg-type]
