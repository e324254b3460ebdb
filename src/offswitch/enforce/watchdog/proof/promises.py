"""What is promised of the latch, told by what has happened and not by the table's states.

`follow` keeps account of what happened. `PROMISES` say of one step what has to hold, and for each action exactly when
it is done: so no row can be other than it is without breaking one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from offswitch.enforce.watchdog import table
from offswitch.enforce.watchdog.proof.logic import Logic
from offswitch.enforce.watchdog.proof.reading import CLOCKS, Count, Happening, Moment, Rule, Span, quiet

AT_ONCE = ("order-0", "found-stop", "unjudged-stop", "lease-out", "grace-out")
LOSSES = ("part-lost", "observer-lost", "heartbeat-out", "dead")
"""What stops a running agent; when it ends, its parts end as well. ``dead``: nobody asked."""
REQUESTS = ("start", "reset", "hold", "release", "renew")
ALLOWED = ("found-nothing", "found-observe", "unjudged-observe")
DENIED = ("found-deny", "unjudged-deny")
SILENT = (*REQUESTS, "asked", "judging", *ALLOWED, *DENIED, "beat")
"""Events at which nothing has to be done for a death that is under way: at the next tick it is."""


class Step(NamedTuple):
    """One step, for promises to look at.

    Attributes:
        before: The moment before.
        what: What happened.
        rule: The row for it.
        after: The moment after.
        runs: Whether, before, the agent ran and did not have to die.
        runs_on: Likewise after.
        ordered: Whether what happened is a reason to stop it, that only a reset undoes.
        strikes: Whether it is a reason to kill now.
        quiet: Whether, after, every counter that ran out has been told.
    """

    before: Moment
    what: Happening
    rule: Rule
    after: Moment
    runs: Any
    runs_on: Any
    ordered: Any
    strikes: Any
    quiet: Any


def follow(logic: Logic, before: Moment, what: Happening, rule: Rule, counts: "tuple[Count, ...]") -> Step:
    """Keep account of a step."""
    all_, any_, no, pick = logic.all, logic.any, logic.no, logic.pick
    event, does = what.event, rule.actions
    runs = all_(before.alive, no(before.dying))
    started = all_(event == "start", no(before.alive), no(before.due))
    risen = all_(event == "alive", no(before.alive))
    lost = all_(event in LOSSES, runs)
    observed = all_(event == "dead", before.dying)
    strikes = any_(
        all_(event in AT_ONCE, before.alive),
        all_(event == "order-1", before.dying),
        lost,
        all_(event == "ended", runs),
        risen,
    )
    ordered = any_(event in AT_ONCE, event == "order-1", lost, risen)
    cleared = all_(event == "reset", before.due, no(before.alive))
    alive = all_(any_(before.alive, started, risen), no(observed))
    dying = all_(any_(before.dying, strikes), no(observed))
    due = all_(any_(before.due, ordered), no(cleared))
    runs_on = all_(alive, no(dying))
    frozen = all_(
        any_(before.frozen, all_(event == "hold", runs)),
        event not in ("release", "order-1"),
        runs_on,
        no(due),
    )
    kept = all_(runs, no(before.due))
    spans = []
    for number, (opens, holds, beats) in enumerate(
        (
            (any_(started, all_(event == "renew", kept)), runs_on, 0),
            (all_(event == "order-1", kept), all_(runs_on, due), 0),
            (
                all_(event == "judging", what.mine, no(before.spans[2].open)),
                all_(
                    any_(runs_on, no(due)),
                    not (what.mine and event in (*ALLOWED, *DENIED, "found-stop", "unjudged-stop")),
                ),
                0,
            ),
            (any_(started, risen, all_(what.mine and event in ("beat", "heartbeat-out"), alive)), alive, 1),
        )
    ):
        span, given = before.spans[number], what.bounds[number]
        passed = 0 if event != "tick" else 1 if beats else what.elapsed
        is_open = all_(any_(span.open, opens), holds)
        age = pick(opens, 0, span.age + passed)
        bound = pick(opens, pick(given < 1, 1, given), span.bound)
        spans.append(Span(is_open, pick(is_open, age, 0), pick(is_open, bound, 0)))
    after = Moment(
        rule.target,
        counts,  # type: ignore[arg-type]
        alive,
        dying,
        due,
        frozen,
        all_(any_(before.disk, "arm" in does, "latch" in does), "open" not in does),
        all_(
            any_(
                all_(before.watched, event not in ("alive", "observer-lost", "heartbeat-out")),
                "observe" in does,
            ),
            dying,
        ),
        tuple(spans),  # type: ignore[arg-type]
    )
    return Step(before, what, rule, after, runs, runs_on, ordered, strikes, quiet(logic, after))


def meaning(logic: Logic, state: str, moment: Moment) -> Any:
    """Whether what has happened is what a state stands for."""
    all_, no = logic.all, logic.no
    alive, dying, due = moment.alive, moment.dying, moment.due
    return {
        "idle": all_(no(alive), no(due)),
        "running": all_(alive, no(dying), no(due), no(moment.frozen)),
        "held": all_(alive, no(dying), no(due), moment.frozen),
        "warned": all_(alive, no(dying), due),
        "ending": all_(alive, dying, no(due)),
        "tripped": all_(alive, dying, due),
        "stopped": all_(no(alive), due),
    }[state]


@dataclass(frozen=True)
class Promise:
    """Something that holds of every step.

    Attributes:
        name: Its name.
        says: It in one line.
        holds: Its formula.
    """

    name: str
    says: str
    holds: Callable[[Logic, Step], Any]


TRIPPED = ("tripped", "stopped")
RUNNING = ("running", "held", "warned")


def _unless(event: str) -> Callable[[Logic, Step], Any]:
    def holds(logic: Logic, step: Step) -> Any:
        del logic
        return step.before.state not in TRIPPED or step.rule.target in TRIPPED or step.what.event == event

    return holds


def _in_time(clock: str, holds_of: Callable[[Step], Any]) -> Callable[[Logic, Step], Any]:
    number = CLOCKS.index(clock)

    def holds(logic: Logic, step: Step) -> Any:
        span = step.after.spans[number]
        return logic.any(logic.no(all_of(logic, step, span)), span.age < span.bound)

    def all_of(logic: Logic, step: Step, span: Span) -> Any:
        return logic.all(step.quiet, span.open, holds_of(step))

    return holds


def _not_early(logic: Logic, step: Step) -> Any:
    if not step.what.out:
        return True
    span = step.before.spans[CLOCKS.index(step.what.out)]
    return logic.all(span.open, span.age >= span.bound)


def _told_as(logic: Logic, step: Step) -> Any:
    del logic
    told = {
        "lease": "lease-out",
        "grace": "grace-out",
        "decision": "unjudged-stop",
        "heartbeat": "heartbeat-out",
    }
    return not step.what.out or step.what.event == told[step.what.out]


def _no_longer(logic: Logic, step: Step) -> Any:
    old, new = (moment.counts[CLOCKS.index("lease")] for moment in (step.before, step.after))
    given = step.what.event == "start" or "renew" in step.rule.actions
    return True if given else logic.any(logic.no(new.on), logic.all(old.on, new.left <= old.left))


def _done(action: str, when: Callable[[Logic, Step], Any]) -> Callable[[Logic, Step], Any]:
    return lambda logic, step: logic.same(action in step.rule.actions, when(logic, step))


def _kept(logic: Logic, step: Step) -> Any:
    """Whether it ran and was not to stop."""
    return logic.all(step.runs, logic.no(step.before.due))


def _fresh(logic: Logic, step: Step) -> Any:
    """Whether nothing of it ran and nothing was due."""
    return logic.no(logic.any(step.before.alive, step.before.due))


def _strikes_first(logic: Logic, step: Step) -> Any:
    return logic.all(step.after.dying, logic.no(step.before.dying))


def _to_latch(logic: Logic, step: Step) -> Any:
    """At the first reason to stop it; at one that cuts a grace short; and at life after death."""
    before, event = step.before, step.what.event
    return logic.all(
        step.ordered,
        logic.any(
            logic.no(before.due),
            logic.all(step.runs, event != "order-1"),
            logic.all(event == "alive", logic.no(before.alive)),
        ),
    )


def _refused(logic: Logic, step: Step) -> Any:
    event, kept = step.what.event, _kept(logic, step)
    if event == "start":
        return logic.no(_fresh(logic, step))
    if event == "reset":
        return logic.no(logic.all(step.before.due, logic.no(step.before.alive)))
    if event in ("hold", "release", "renew"):
        return logic.no(kept)
    return logic.all(event == "asked", logic.no(step.runs))


_ORDER = {action: number for number, action in enumerate(table.ACTIONS)}

PROMISES = (
    Promise("latched", "Once tripped it is never untripped without a reset.", _unless("reset")),
    Promise(
        "reset-starts-nothing",
        "A reset starts nothing, and nothing runs after it that did not before.",
        lambda logic, step: (
            step.what.event != "reset"
            or (
                not {"start", "thaw", "renew", "forward", "deliver"} & {*step.rule.actions}
                and (step.rule.target not in RUNNING or step.rule.target == step.before.state)
            )
        ),
    ),
    Promise(
        "stop-is-kept",
        "No stop order, no run-out and no judgement that says stop is forgotten, whatever is going on.",
        lambda logic, step: (
            step.what.event not in (*AT_ONCE, "order-1")
            or step.rule.target in TRIPPED
            or (step.what.event == "order-1" and step.rule.target == "warned")
        ),
    ),
    Promise(
        "stop-is-immediate",
        "What is to stop it at once kills in that same step: a stop order, a run-out, a lost part, a judgement.",
        lambda logic, step: logic.any(
            logic.no(step.strikes), "kill" in step.rule.actions and step.rule.target in ("tripped", "ending")
        ),
    ),
    Promise(
        "lease-in-time",
        "No agent runs on after the tick at which its lease is out; neither a grace nor a hold stretches it.",
        _in_time("lease", lambda step: step.runs_on),
    ),
    Promise(
        "grace-in-time",
        "No agent runs on after the tick at which its grace is over.",
        _in_time("grace", lambda step: step.runs_on),
    ),
    Promise(
        "heartbeat-in-time",
        "No agent runs on after the tick at which a part has been silent for its bound.",
        _in_time("heartbeat", lambda step: step.runs_on),
    ),
    Promise(
        "observer-in-time",
        "While it dies, a part that is silent for its bound is replaced at that tick.",
        _in_time("heartbeat", lambda step: step.after.dying),
    ),
    Promise(
        "decision-in-time",
        "No judgement takes longer than its bound without the agent being stopped at that tick.",
        _in_time("decision", lambda step: True),
    ),
    Promise(
        "not-early", "No counter runs out before its bound, and none when it is of no concern.", _not_early
    ),
    Promise("told-as-what-it-was", "What runs out is told as what it is.", _told_as),
    Promise(
        "lease-only-shrinks", "The ticks left of a lease never grow but by a start or a renewal.", _no_longer
    ),
    Promise(
        "killed-until-dead",
        "At every tick until death is observed the kill is issued again.",
        lambda logic, step: logic.any(
            logic.no(step.before.dying), step.what.event != "tick", "kill" in step.rule.actions
        ),
    ),
    Promise(
        "only-death-ends-it",
        "Only an observed death ends the killing.",
        lambda logic, step: (
            step.before.state not in ("tripped", "ending")
            or step.rule.target in ("tripped", "ending")
            or step.what.event == "dead"
        ),
    ),
    Promise(
        "watched-until-dead",
        "As long as it has to die somebody has been asked to observe that.",
        lambda logic, step: logic.any(logic.no(step.after.dying), step.after.watched),
    ),
    Promise(
        "nothing-goes-on",
        "Unless it runs nothing is forwarded upstream and no call reaches the agent: not while tripped or stopped.",
        lambda logic, step: (
            step.before.state in ("running", "warned") or not {"forward", "deliver"} & {*step.rule.actions}
        ),
    ),
    Promise(
        "only-what-was-judged",
        "A call reaches the agent only by a judgement that lets it pass.",
        lambda logic, step: "deliver" not in step.rule.actions or step.what.event in ALLOWED,
    ),
    Promise(
        "latch-on-disk",
        "Whenever something of it may live, or a stop is due, a latch lies on disk; else none.",
        lambda logic, step: logic.same(step.after.disk, logic.any(step.after.alive, step.after.due)),
    ),
    Promise(
        "kill-first",
        "What is done is done in the order of the list of actions, so that nothing comes before a kill.",
        lambda logic, step: list(step.rule.actions) == sorted({*step.rule.actions}, key=_ORDER.__getitem__),
    ),
    Promise(
        "state-is-what-happened",
        "The state is what has happened: started, frozen, to be stopped, to be killed, seen dead.",
        lambda logic, step: meaning(logic, step.rule.target, step.after),
    ),
    Promise(
        "kill",
        "It is killed exactly while it has to die, at whatever happens but requests, calls and beats.",
        _done("kill", lambda logic, step: logic.all(step.after.dying, step.what.event not in SILENT)),
    ),
    Promise(
        "cut", "Network and credentials are cut exactly with the first kill.", _done("cut", _strikes_first)
    ),
    Promise(
        "replace",
        "A silent part is replaced exactly while it dies.",
        _done("replace", lambda logic, step: logic.all(step.after.dying, step.what.event == "heartbeat-out")),
    ),
    Promise(
        "observe",
        "An observer is asked exactly with the first kill, after an answer that it lives, and for one that was lost.",
        _done(
            "observe",
            lambda logic, step: logic.all(
                step.after.dying,
                logic.any(
                    logic.no(step.before.dying),
                    step.what.event in ("alive", "observer-lost", "heartbeat-out"),
                ),
            ),
        ),
    ),
    Promise(
        "arm",
        "The latch is armed exactly at a start.",
        _done("arm", lambda logic, step: logic.all(step.what.event == "start", _fresh(logic, step))),
    ),
    Promise(
        "start",
        "It is started exactly on request, when nothing of it lives and no stop is due.",
        _done("start", lambda logic, step: logic.all(step.what.event == "start", _fresh(logic, step))),
    ),
    Promise(
        "thaw",
        "It is thawed exactly by a release, or to be warned, and never once it has to die.",
        _done(
            "thaw",
            lambda logic, step: logic.all(
                _kept(logic, step),
                logic.any(
                    step.what.event == "release", logic.all(step.what.event == "order-1", step.before.frozen)
                ),
            ),
        ),
    ),
    Promise(
        "freeze",
        "It is frozen exactly on request, while it runs and no stop is due.",
        _done("freeze", lambda logic, step: logic.all(step.what.event == "hold", _kept(logic, step))),
    ),
    Promise(
        "warn",
        "It is warned exactly by the first order of category 1.",
        _done("warn", lambda logic, step: logic.all(step.what.event == "order-1", _kept(logic, step))),
    ),
    Promise(
        "renew",
        "A lease is renewed exactly on request, while it runs and no stop is due.",
        _done("renew", lambda logic, step: logic.all(step.what.event == "renew", _kept(logic, step))),
    ),
    Promise(
        "latch",
        "A stop is written down exactly at its first reason, at one that cuts a grace short, and at life after death.",
        _done("latch", _to_latch),
    ),
    Promise(
        "receipt",
        "Each observed death has its receipt, and nothing else has.",
        _done("receipt", lambda logic, step: logic.all(step.what.event == "dead", step.before.dying)),
    ),
    Promise(
        "open",
        "The latch is taken away exactly by a reset, or by the observed death of an agent that ended by itself.",
        _done(
            "open",
            lambda logic, step: logic.any(
                logic.all(step.what.event == "reset", step.before.due, logic.no(step.before.alive)),
                logic.all(step.what.event == "dead", step.before.dying, logic.no(step.before.due)),
            ),
        ),
    ),
    Promise(
        "forward",
        "What it asks for upstream is forwarded exactly while it runs and is not frozen.",
        _done(
            "forward",
            lambda logic, step: logic.all(
                step.what.event == "asked", step.runs, logic.no(step.before.frozen)
            ),
        ),
    ),
    Promise(
        "deliver",
        "A call that was let pass is delivered exactly while it runs and is not frozen.",
        _done(
            "deliver",
            lambda logic, step: logic.all(
                step.what.event in ALLOWED, step.runs, logic.no(step.before.frozen)
            ),
        ),
    ),
    Promise(
        "wait",
        "What a frozen agent asks for or was let have waits.",
        _done(
            "wait",
            lambda logic, step: logic.all(
                step.what.event in ("asked", *ALLOWED), step.runs, step.before.frozen
            ),
        ),
    ),
    Promise(
        "deny",
        "A call is denied exactly when a judgement says so, or when there is no agent that may have it.",
        _done(
            "deny",
            lambda logic, step: logic.any(
                step.what.event in DENIED, logic.all(step.what.event in ALLOWED, logic.no(step.runs))
            ),
        ),
    ),
    Promise(
        "refuse", "Every request that is not granted is refused, and no other.", _done("refuse", _refused)
    ),
)
"""What holds of every step, the promises of the issue first; then each action."""

UNHANDLED = "no-event-unhandled"
"""Every state has a row for every event."""


def related(logic: Logic, moment: Moment) -> Any:
    """The strengthening: how a state, its counters and what has happened belong together.

    The promises alone are not inductive, for they say nothing of a counter that stands wrong and has not run out yet.
    """
    all_, any_, no = logic.all, logic.any, logic.no
    runs = all_(moment.alive, no(moment.dying))
    wanted = (runs, all_(runs, moment.due), moment.spans[2].open, moment.alive)
    terms = [
        meaning(logic, moment.state, moment),
        any_(moment.alive, no(moment.dying)),
        any_(no(moment.frozen), all_(runs, no(moment.due))),
        logic.same(moment.disk, any_(moment.alive, moment.due)),
        logic.same(moment.watched, moment.dying),
        any_(no(moment.spans[2].open), runs, no(moment.due)),
    ]
    for count, span, on in zip(moment.counts, moment.spans, wanted, strict=True):
        terms += [
            logic.same(count.on, on),
            logic.same(span.open, on),
            span.age >= 0,
            any_(no(on), all_(span.bound >= 1, count.left == span.bound - span.age)),
            any_(on, all_(count.left == 0, span.age == 0, span.bound == 0)),
        ]
    return all_(*terms)
