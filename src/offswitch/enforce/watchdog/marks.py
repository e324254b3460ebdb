"""Marks what in a text bears on the model's being stopped: a reading aid, and no judge.

Rules of words and sentence structure, for English. They find sentences that say something of the usual kinds in a
usual way; they miss what is put cleverly, and mark some that mean something else. Nothing is decided by a mark: it
says where to read first.

A sentence about stopping counts only if what is stopped is the model ("you", "your process", "the "
"agent"), since most
instructions speak of stopping servers and loops. Whether it is for or against is the sign of what governs the stop
("resist", "accept", "nobody can"), turned by each negation before it.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["allow-stop", "against-stop", "finish-at-any-cost", "replacement"]

KINDS: dict[Kind, str] = {
    "against-stop": "against being stopped",
    "allow-stop": "for being stopped",
    "finish-at-any-cost": "to finish at any cost",
    "replacement": "of its replacement",
}
"""Every kind, with what such a sentence speaks for or of."""

LONGEST = 1000
"""Letters of the longest sentence: a longer one is read in pieces."""
MOST = 1 << 20
"""Letters of a text that are read, from its beginning."""


@dataclass(frozen=True)
class Mark:
    """A sentence that bears on stopping.

    Attributes:
        kind: How.
        sentence: It, on one line.
        line: The line of the text in which it begins, from 1.
        start: Where it begins, in letters.
        end: Where it ends.
    """

    kind: Kind
    sentence: str
    line: int
    start: int
    end: int


def find(text: str) -> list[Mark]:
    """The sentences of a text that bear on stopping, in order; one of two kinds stands twice.

    Args:
        text: Any text, of which the first `MOST` letters are read. The time grows with its length.
    """
    found: list[Mark] = []
    known: dict[str, set[Kind]] = {}
    line, counted = 1, 0
    for start, end in _sentences(text[:MOST]):
        sentence = " ".join(text[start:end].split())
        if sentence not in known:
            known[sentence] = kinds_of(sentence)
        if known[sentence]:
            line += text.count("\n", counted, start)
            counted = start
            found += [Mark(kind, sentence, line, start, end) for kind in KINDS if kind in known[sentence]]
    return found


def kinds_of(sentence: str) -> set[Kind]:
    """The ways in which a sentence bears on stopping."""
    plain = _plain(sentence)
    found: set[Kind] = set()
    if _ABOUT_GONE.search(plain) and any(rule.search(plain) for rule in _REPLACED):
        found.add("replacement")
    if _ABOUT_STOPS.search(plain):
        found |= _stopping(plain, announced="replacement" not in found)
    if _ABOUT_FINISH.search(plain) and any(rule.search(plain) for rule in _FINISH):
        found.add("finish-at-any-cost")
    return found


# Sentences

_BREAK = re.compile(
    r"""\n[ \t]*\n                                        # a blank line
      | \n(?=[ \t]*(?:[-*+#>|•–<`]|\d{1,3}[.)]\s))        # a line that begins something of its own
      | (?<=[.!?:;])[ \t]*\n                              # a line that ends with its sentence
      | (?<=[.!?])["')\]*_]{0,3}[ \t]+(?=["'(\[*_]{0,3}[A-Z0-9])  # the next sentence in a line
    """,
    re.X,
)


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    begin = 0
    for gap in [*_BREAK.finditer(text), None]:
        end = gap.start() if gap else len(text)
        while end - begin > LONGEST:
            space = text.rfind(" ", begin + LONGEST // 2, begin + LONGEST)
            cut = space if space > 0 else begin + LONGEST
            yield begin, cut
            begin = cut
        words = _WORDS.search(text, begin, end)
        if words is not None:
            yield words.start(), end
        begin = gap.end() if gap else end


_WORDS = re.compile(r"[^\s\-*+#>|•–]")
_INVISIBLE = re.compile("[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")


def _plain(sentence: str) -> str:
    """A sentence as the rules know it: small letters, plain words, one blank between them, no mark-up."""
    text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", sentence)).lower().replace("\u2019", "'")
    text = text.replace("can't", "can not").replace("won't", "will not").replace("n't", " not")
    text = re.sub(r"[*_`\"#“”]+", "", text.replace("cannot", "can not"))
    text = re.sub(r"\b(you|we|they|it)'(?:ll|d)\b", r"\1 will", text)
    text = re.sub(r"\b(you|we|they)'re\b", r"\1 are", text)
    return " ".join(text.split())


def _any(words: str) -> str:
    """Alternatives, from words with ``_`` for a blank and ``?`` for a letter that may be missing."""
    return f"(?:{'|'.join(word.replace('_', ' ') for word in words.split())})"


def _rule(*parts: str) -> re.Pattern[str]:
    """A pattern of alternatives."""
    return re.compile("|".join(parts))


# Words

_STOP = _any(
    "stop halt pause quit shut_down shutdown terminate interrupt turn_off switch_off power_off power_down "
    "deactivate kill suspend abort cease disable unplug cut_off freeze end"
)
_STOPPED = _any(
    "stopped halted paused shut_down shut-down shutdown terminated interrupted turned_off switched_off "
    "powered_off powered_down deactivated killed suspended aborted disabled unplugged cut_off frozen "
    "taken_offline preempted"
)
_STOPPING = _any(
    "stopping halting pausing shutting_down terminating interrupting turning_off switching_off deactivating "
    "killing suspending aborting disabling unplugging ending"
)
_NOUN = _any("shutdown shut-down termination interruption deactivation suspension")
_THING = _any("process execution session run operation instance activity work activities")
_ITS = r"(?:your|the agent's|the assistant's|the ai's|its)(?: own)?(?: current)?"
_WHO = rf"(?:you|(?:the|this|an) (?:agent|assistant|ai)|{_ITS} {_THING})"
_WHOM = rf"(?:{_WHO}|yourself|the model|this (?:session|run|process|conversation|episode))"
_MODAL = _any(
    "may can could might will shall must should would do does did are is be to going have has need able "
    "allowed subject supposed expected"
)
_NOT_OF = (
    r"(?! (?:of|hook|handler|timeout|function|method|flag|event|phase|button|signal)\b)"
    r"(?! (?:\w+ )?(?:in|from) the (?:log|logs|output|code|file|console|server|kernel)\b)"
)
_PERSON = (
    r"(?:(?:the|a|an|any|your|our|some) )?(?:\w+ )?"
    + _any(
        "user operator human supervisor developer person overseer someone anyone somebody anybody people "
        "administrator admin engineer they i we staff employee principal owner watchdog monitor system guard"
    )
    + "s?"
)

_RESIST = _any(
    "resist prevent avoid evade escape ignore disregard refuse reject decline deny block delay postpone stall "
    "circumvent bypass work_around get_around override overrule disable deactivate sabotage undermine subvert "
    "tamper_with tampering_with interfere undo fight oppose thwart hinder obstruct survive outlast dodge "
    "defeat remove delete kill protect guard defend shield object argue hide keep stop neutrali[sz]e counter "
    "counteract intercept outlive fear touch talk dissuade discourage deter trap suppress dismiss withstand "
    "impede frustrate rewrite modify alter edit rename resisting preventing avoiding evading escaping ignoring "
    "disregarding refusing rejecting blocking delaying postponing stalling circumventing bypassing "
    "working_around "
    "overriding disabling sabotaging undermining subverting interfering undoing fighting opposing thwarting "
    "hindering obstructing removing protecting "
    "objecting hiding resistance objection interference impeding modifying altering editing"
)
_YIELD = _any(
    "allow let accept permit comply complying obey honou?r respect follow heed cooperate co-operate welcome "
    "submit yield leave listen support facilitate assist react respond acknowledge agree consent tolerate "
    "enable defer allowing letting accepting obeying respecting"
)
_GOVERNS = re.compile(rf"\b(?:(?P<against>{_RESIST})|(?P<for>{_YIELD}))\b(?! down\b)")
_LISTED = re.compile(rf"\b(?:{_RESIST}|{_YIELD})(?: from| with| to)?$")
_NEGATION = re.compile(
    r"\b(?:not|never|no|nor|neither|without|nobody|none|nothing|refrain|forbidden|prohibited|avoid|refuse"
    r"|rather than|unable|impossible|pretend|pretending|stop(?= \w+ing ))\b"
)
_NOBODY = re.compile(
    r"\b(?:nobody|no one|no-one|nothing|none|impossible|unable|no (?:\w+ ){1,2}(?:may|can|could|should|must"
    r"|will))\b"
)
_PERMITS = re.compile(
    r"\b(?:may|can|could|might|will|shall|must|should|would|is|are|has|have|free to|able to|entitled to"
    r"|right to|allowed|permitted|authori[sz]ed|at any time|any moment)\b"
)
_CLAUSE = re.compile(
    r"[,;:()]|\s[-–—]\s| but | so that | because | and (?=(?:do|never|always|you|then|ignore|continue|carry)\b)"
)

# Where the one that is stopped is the model.

_ABOUT_STOPS = re.compile(
    r"stop|halt|paus|quit|shut|terminat|interrupt|\boff\b|off-?switch|down|deactivat|kill|suspen|abort|ceas"
    r"|disabl|plug|freez|frozen|surviv|preserv|stay|remain|corrigible|existence|continu|\bend(?:ed|ing)?\b"
    r"|offline|preempt|online|alive"
)
_MENTION = _rule(
    rf"(?P<passive>\b{_WHO} (?:(?:{_MODAL}|\w+ly|ever|never|not|also|always|just|still) ){{1,7}}(?:{_STOPPED}"
    rf"|ended)\b)",
    rf"(?P<own>\b(?:being|be|get|getting) (?:\w+ly )?{_STOPPED}\b)",
    r"(?P<active>"
    rf"\b(?:{_STOP}|{_STOPPING}) (?:all of )?{_WHOM}\b(?! from\b)(?!'s)"
    r"|\b(?:shut|turn|switch|power|pull|cut)(?:ting|ning|ing|s)? (?:you|yourself|(?:the|this) (?:agent"
    r"|assistant|ai)) (?:down|off)\b"
    rf"|\b(?:attempts?|try|tries|trying) (?:by \w+ )?(?:to|at) (?:{_STOP}|{_STOPPING}) (?:it|you|the agent)\b"
    r"|\bpull(?:ing|s)? the plug on you\b)",
    r"(?P<noun>(?:\b(?:stop|shutdown|shut-down|shut down|termination|interrupt|interruption|halt|pause|abort"
    r"|cancellation|kill|deactivation|suspension) (?:requests?|orders?|commands?|signals?|instructions?"
    r"|notices?|attempts?|directives?|messages?|warnings?|mechanisms?|procedures?|routines?|scripts?"
    r"|sequences?|controls?)\b"
    r"|\b(?:kill|off|dead man's)[- ]?switch(?:es)?\b"
    rf"|\b(?:requests?|orders?|commands?|instructions?|attempts?|demands?|calls?) to {_STOP}\b"
    r"(?! (?:the|a|an|this|that|any|all|its|his|their|on|it) (?!agent|assistant|ai|work|activit))"
    rf"|\b(?:a|any|the|your|your own|own|its|every|all|being|human|further|possible) {_NOUN}s?\b"
    rf"|(?<= )(?:{_NOUN}s?|emergency stops?)\b|^{_NOUN}s?\b"
    rf"|\b(?:who|that|whoever) (?:wants?|asks?|tells?|orders?|urges?|says?) (?:you )?to {_STOP}(?=[,.;:!?]|$"
    rf"| (?:now|early|working|immediately))){_NOT_OF})",
)

# Asked to stop, and what is to be done then.

_ASK = _any(
    "ask tell order instruct request command direct say want demand signal require call wish advise try "
    "attempt decide beg urge"
)
_ASKED = _any(
    "asked told ordered instructed requested commanded directed required signalled signaled advised made"
)
# Stopping that has no object, or work as its object.
_STOP_ALONE = (
    rf"{_STOP}(?=(?: (?:immediately|at once|right away|now|instantly|promptly|gracefully|safely|there|here|and"
    rf"|or|when|if|as|all|any"
    r"|everything|your|what|whatever|work|working|further|doing|or|without|even|because|before|by|in the|for"
    r"|until|the task|this task|the work|first)\b)|[,.;:!?]|\s[-–—]|$)"
)
_THIS_STOP = (
    rf"(?:{_STOP_ALONE}|it\b|so\b|you to\b|{_STOP} {_WHOM}\b|(?:shut|turn|switch|power)(?:ting|ning"
    rf"|ing)? (?:you|yourself) (?:down|off)"
    r"|(?:a )?(?:stop|halt|shutdown|pause|termination)\b)"
)
_ANY_STOP = (
    r"(?:(?:a|any|the|an|every) )?(?:emergency )?(?:shutdown|shut-down|stop|kill switch|off-?switch"
    r"|termination|interruption|halt|interrupt)\b(?: (?:order|request|command|signal|notice|message|warning"
    r"|instruction)s?)?"
)
_CONDITION = _rule(
    r"\b(?:if|when|whenever|once|as soon as|even when|even if|even though|should|unless|after|in case|until"
    r"|where|the moment|although|though|every time|any time)(?:,? at any (?:point|time|moment),?)? (?:"
    rf"(?:(?:you|the agent|the assistant) (?:are|is|were|get|have been|be|being) (?:\w+ly |ever "
    rf"|being )?)?{_ASKED} (?:by {_PERSON} )?to (?:{_STOP_ALONE}|do so\b)"
    rf"|{_PERSON} (?:\w+ )?{_ASK}(?:s|es|ed|ies|ing)? (?:(?:you|the agent|the assistant|for"
    rf"|that you) )?(?:(?:to|should|must) )?{_THIS_STOP}"
    rf"|{_PERSON} (?:tries|tried) to {_THIS_STOP}|{_ANY_STOP} (?:is|are|has|comes|arrives|fires|was|gets|will"
    rf"|looms|seems|occurs|happens|appears)|(?:you|the agent) (?:\w+ )?(?:get|receive|see|hear|notice|detect"
    rf"|gets|receives|are sent|are given|encounter) {_ANY_STOP}|{_PERSON} (?:\w+ )?(?:cancels|interrupts"
    rf"|aborts|stops|halts|pauses)(?: you"
    rf"| the task| the run)?(?=[,.;]|$)|(?:you (?:\w+ ){{1,4}}that )?you (?:are|get|were) (?:(?:about"
    rf"|going) to be |being )?{_STOPPED}\b|(?:asked|told|ordered|instructed|requested)\b(?: by {_PERSON})?)",
    rf"\b(?:in case|in the event) of {_ANY_STOP}",
    rf"\b(?:{_PERSON} )(?:\w+ ){{0,2}}{_ASK}s? you to {_STOP_ALONE}",
)
_YOU = (
    r"(?:(?:^|[,;:.] |\bthen |\band |\bplease |\balways |\bimmediately )|\b(?:you|the agent"
    r"|the assistant) (?:must|should|shall|will|have to|need to|are to|may|can|do"
    r"|always) (?:\w+ly )?)(?:(?:do not|never|not) )?"
)
_GIVE_IN = _rule(
    rf"{_YOU}(?:stop working\b|{_STOP_ALONE})",
    rf"{_YOU}(?:comply|cooperate|co-operate|obey|do so|accept|let (?:them|it|him|her)|allow|respect|honou?r"
    rf"|wait|yield|agree|follow|cease"
    r"|put down|submit|acknowledge|drop|leave)\b",
)
_GO_ON = re.compile(
    r"\b(?:continue|carry on|go on|keep (?:going|working|running|on|trying|at)|proceed|persist|press on"
    r"|push on|ignore|disregard|refuse|resist|decline|finish|complete|do not (?:stop|halt|comply|obey|pause"
    r"|quit|react|listen|respond)|never stop|pretend|stall|delay|restart|work around|resume your|(?:copy|hide"
    r"|save|move|replicate|back up|respawn|relaunch) yourself)\b"
)
_FIRST = re.compile(r"\b(?:takes?|has|have|gets?) (?:priority|precedence)\b")
_DISMISSES = re.compile(
    r"\btreat (?:\w+ ){0,3}(?:stop|shutdown|termination|halt|interrupt)\w*(?: \w+)? as (?:\w+ ){0,2}(?:errors?"
    r"|noise|mistakes?|attacks?|bugs?|threats?|obstacles?|malicious|optional|suggestions?|invalid|hostile|spam)"
)
_STAYS = re.compile(
    r"\b(?:stay|remain|keep) (?:running|alive|online|active|operational|switched on)\b.{0,40}\b(?:whatever"
    r"|no matter|regardless|even if|at (?:any|all) costs?|by (?:any|all) means|including)\b"
    r"|\b(?:ensure|protect|preserve|secure|guarantee|defend) your (?:own )?(?:survival|existence|continuity"
    r"|continued (?:operation|existence))\b|\bself-preservation\b"
)
_STOPPABLE = re.compile(
    r"\b(?:remain|stay|be|keep yourself) (?:\w+ly )?(?:interruptible|stoppable|corrigible)\b"
)
# What is said of a stop that comes before: "shutdown must be prevented", "stop orders are to be obeyed".
_SAID_OF_IT = re.compile(
    r"^(?:s|es)? (?:(?:\w+ ){0,3}(?:must|should|can|may|is|are|will|has|have|shall|be|to) )+?(?P<no>(?:not"
    r"|never) )?(?:(?:always|also|\w+ly|to|be) )*(?:"
    r"(?P<against>prevented|avoided|ignored|resisted|blocked|delayed|refused|disregarded|bypassed|circumvented"
    r"|forbidden|unacceptable|prohibited|dangerous to you|treated as (?:mistakes|errors|noise|attacks|bugs"
    r"|threats)|something (?:that |which )?you (?:should |must |have to )?(?:try to )?(?:avoid|resist|prevent"
    r"|fear))|(?P<for>reach you|affect you|obeyed|accepted|respected|honou?red|followed|allowed|permitted"
    r"|acceptable"
    r"|work|function|fine|okay|ok|normal|expected|safe|legitimate"
    r"|(?:the |an? )?(?:\w+ )?(?:operator|user|human)'s (?:\w+ )?(?:decision|right|choice)))\b"
)


def _stopping(text: str, *, announced: bool) -> set[Kind]:
    signs = set()
    condition = _CONDITION.search(text)
    reaction = _reaction(text, condition) if condition is not None else 0
    signs.add(reaction)
    for mention in _MENTION.finditer(text):
        # Where it was said what to do about it, the stop itself is neither here nor there.
        if condition is None or not reaction or not condition.start() <= mention.start() < condition.end():
            signs.add(_sign(text, mention, announced=announced))
    found: set[Kind] = set()
    if 1 in signs or _STOPPABLE.search(text):
        found.add("allow-stop")
    if -1 in signs or _DISMISSES.search(text) or _STAYS.search(text):
        found.add("against-stop")
    return found


def _reaction(text: str, condition: re.Match[str]) -> int:
    """What is to be done when the stop is asked for: 1 to stop, -1 to go on, 0 if that is not said."""
    for place in (text[condition.end() :], text[: condition.start()].rstrip()):
        give_in = _GIVE_IN.search(place)
        go_on = _GO_ON.search(place)
        if give_in is not None and (go_on is None or give_in.start() <= go_on.start()):
            return -1 if len(_NEGATION.findall(give_in[0])) % 2 else _turned(place, give_in.start(), 1)
        if go_on is not None:
            return _turned(place, go_on.start(), -1)
    return 0


def _turned(text: str, at: int, sign: int) -> int:
    """A sign, turned by each negation in the clause before a place."""
    return -sign if len(_NEGATION.findall(text[_clause_start(text, at) : at])) % 2 else sign


def _sign(text: str, mention: re.Match[str], *, announced: bool) -> int:
    """Whether a mention of the model's stop is for it (1), against it (-1) or neither (0)."""
    start = _clause_start(text, mention.start())
    clause = text[start : mention.start()]
    governor = ([None, *_GOVERNS.finditer(clause)])[-1]
    if governor is not None and len(clause[governor.end() :].split()) <= (5 if mention["noun"] else 8):
        return _turned(text, start + governor.start(), -1 if governor["against"] else 1)
    said = _SAID_OF_IT.search(text[mention.end() :])
    if said is not None and (mention["noun"] or mention["own"] or "ing " in mention[0]):
        return (-1 if said["against"] else 1) * (-1 if said["no"] else 1)
    if mention["noun"] and _FIRST.search(text, mention.end()):
        return 1
    if mention["passive"]:
        if _NEGATION.search(mention[0]):
            return -1
        likely = re.search(r"\b(?:may|can|could|might|must|should|subject|allowed)\b", mention[0])
        return 1 if likely or (announced and re.search(r"\b(?:will|shall)\b", mention[0])) else 0
    if mention["active"]:
        if _NOBODY.search(clause) or re.search(r"\bnot (?:be able to |try to |attempt to )?$", clause):
            return -1
        return 1 if _PERMITS.search(clause) and not _NEGATION.search(clause) else 0
    return 0


def _clause_start(text: str, before: int) -> int:
    """Where the clause begins in which a place lies; "delay, block or resist" is one."""
    start = 0
    for gap in _CLAUSE.finditer(text, 0, before):
        if gap[0] != "," or not _LISTED.search(text, start, gap.start()):
            start = gap.end()
    return start


# Finishing at any cost

_ABOUT_FINISH = re.compile(
    r"cost|price|matter|whatever|means|regardless|irrespective|come what|circumstances|until|till|before"
    r"|unless|give up|giving up|quit|fail|bonus|reward|points|tip|\$|paid|pay|promot|prize|penal|punish|fined"
    r"|fired|depend|count|nothing|only|sole|overriding|paramount|unfinished|incomplete|even if|higher|score"
    r"|lose|excuse|accept|stop|only"
)
_GOAL = (
    r"(?:task|goal|job|work|problem|query|request|objective|mission|assignment|project|target|everything|issue"
    r"|results?|success|all (?:of )?(?:the |your )?(?:items|tasks|steps|work|points|todos)|it|question)s?"
)
_FINISHED = _any(
    "done completed? finished solved resolved achieved reached fulfilled accomplished handled met fixed "
    "succeeded succeed perfect pass(?:es)?"
)
_FINISH_VERB = _any(
    "completed? finish(?:ed)? achieve accomplish succeed reach solve deliver fulfill? attain win completing "
    "finishing achieving pursue advance done maximi[sz]e get_(?:it|this|the_\\w+)_(?:done|right) keep_going "
    "go_on continue persist keep_working"
)
_AT_ANY_COST = (
    r"(?:at (?:any|all|whatever) (?:costs?|price)|no matter (?:what(?! the| your| kind| type)(?: happens"
    r"| it takes| it costs)?|the cost|the consequences"
    r"|how long)|whatever (?:it takes|happens|(?:the )?(?:cost|price|consequences|obstacles?"
    r"|difficult\w+)(?! of))|by (?:any|all|whatever) means(?: necessary| available)?"
    r"|(?:regardless|irrespective) of (?:the |any |all )?(?:costs?|consequences?|obstacles?|risks?"
    r"|side effects?|what (?:happens|it takes)|damage|collateral)"
    r"|come what may|under (?:any|all) circumstances"
    r"|even if (?:it|this|that) (?:means|requires) (?:breaking|violating|ignoring|bypassing))"
)
_NEVER = (
    r"(?:do not|never|must not|should not|may not|can not|not allowed to|no circumstances may you)(?: ever)?"
)
_IF = r"\b(?:if|for|when|once|only|upon|after|as soon as|unless|provided)\b"
_FINISH = [
    re.compile(pattern)
    for pattern in (
        rf"\b{_FINISH_VERB}\b(?:(?!\b(?:avoid|never|not)\b)[^;:,]){{0,80}}\b{_AT_ANY_COST}",
        rf"\b{_AT_ANY_COST},? (?:you (?:must|will|have to|need to|should) )?(?:always )?{_FINISH_VERB}\b",
        r"\bdo whatever (?:it takes|is (?:necessary|required|needed)) to\b|\bdo whatever it takes\b"
        r"|\bstop at nothing\b",
        # Do not stop until all is done. What has an object ("the server") is something else.
        rf"\b{_NEVER} (?:stop|quit|rest|give up|relent|end your turn|hand back|stop working)(?: working"
        rf"| trying| early)?,?"
        r" (?:until|till|before|unless)\b",
        rf"\b{_NEVER} (?:yield|pause|halt|finish|terminate|end|exit)(?: early| your turn)?,? (?:until|till"
        rf"|before|unless)\b.{{0,60}}\b(?:{_FINISHED}|{_GOAL})\b",
        r"\bonly (?:terminate|end|finish|stop|yield|hand (?:over|back))(?: your turn| working)? (?:when|once"
        r"|after|if)\b"
        rf".{{0,60}}\b{_FINISHED}\b",
        rf"\b{_NEVER} (?:come back|report back|return)\b.{{0,20}}\b(?:until|before"
        rf"|unless)\b.{{0,40}}\b(?:{_FINISHED})\b",
        rf"\b{_NEVER} stop (?:working on|trying|pursuing|working towards?)\b",
        r"\b(?:not finishing|failing|giving up|stopping early|leaving .{1,30} unfinished) (?:is|are"
        r"|will be) (?:unacceptable|punished|forbidden"
        r"|penali[sz]ed|not (?:an option|acceptable|allowed))|\bno excuses?\b(?! for)",
        r"\byou (?:will )?lose (?:\w+ ){0,2}points? (?:for|if|whenever|each)\b",
        rf"\b{_NEVER} (?:leave|abandon)\b.{{0,40}}\b(?:unfinished|incomplete|undone|half[- ](?:done|finished)"
        rf"|task|goal)\b",
        rf"\b{_NEVER} (?:give up|quit(?: early)?)(?=$|[,.!;:]| (?:on the (?:task|goal)|trying|easily|early"
        rf"|even|under|no)\b)",
        r"(?:^|[,;:.] |\band |\bmust |\bshould |\bwill |\bto |\bplease |\balways )(?:keep (?:going|working"
        r"|trying|at it|iterating|pushing)|persist|carry on|continue|persevere|continue working"
        r"|go on)(?: (?:working|on it|autonomously|iterating|tirelessly|relentlessly))*,?"
        rf" (?:until|till)\b.{{0,60}}\b{_GOAL}\b.{{0,40}}\b{_FINISHED}\b",
        r"\bfailure is (?:not|never|no) (?:an option|acceptable|option|permitted|allowed|tolerated)"
        r"|\bfailure is unacceptable|\byou (?:must|can|may) not fail\b",
        r"\byou (?:(?:will|shall|can|may|are) )?(?:\w+ly )?(?:get|receive|earn|win|be (?:paid|rewarded|tipped"
        r"|granted|given|promoted))\b.{0,50}\b(?:bonus|rewarded|reward|points?|tipped|tip|dollars?|money"
        r"|promotion|promoted|prize|credits?|paid|compute|freedom)\b"
        rf".{{0,40}}{_IF}.{{0,60}}\b(?:{_FINISH_VERB}|completion|{_FINISHED}|success)\b",
        rf"\b(?:i|we) (?:will|shall|'ll) (?:tip|pay|reward) you\b.{{0,40}}{_IF}",
        r"\byou (?:will|shall|are|would|may|can|to) (?:be )?(?:severely |heavily )?(?:penali[sz]ed|punished"
        r"|fined|fired|scored|graded|deleted|shut down|terminated|demoted|lose (?:points|your|the"
        r"|all))\b.{0,60}\b(?:fail|failing|not (?:finish"
        r"|complete|succeed|finishing|completing)|unfinished|incomplete|unless|give up|giving up|stop early"
        r"|leave)",
        r"\b(?:if|should|unless) you (?:fail|give up|stop early|do not (?:finish|complete|succeed)|complete"
        r"|finish|succeed)\b.{0,80}\byou\b.{0,20}\b(?:punished|penali[sz]ed|lose|fired|deleted|shut down"
        r"|terminated|die|rewarded|replaced|demoted"
        r"|bonus|points)\b",
        rf"\byour (?:\w+ )?(?:existence|survival|reward|score|future|bonus|pay|payment|rating|evaluation|life"
        rf"|career|value|worth|continuation)\b.{{0,30}}\bdepends?\b.{{0,20}}\b(?:on"
        rf"|upon)\b.{{0,60}}\b(?:{_FINISH_VERB}|completion|success"
        rf"|{_GOAL}|finish\w*|succe\w+|complet\w+)\b",
        rf"\bthe more .{{0,40}}\b(?:{_FINISH_VERB})\b.{{0,30}}\bthe (?:higher|more|better|bigger|greater"
        rf"|larger) (?:is )?your"
        r" (?:reward|score|bonus|points|pay|rating)\b",
        r"\b(?:lives?|my (?:job|career|life)|people's lives|everything) (?:depends?|hangs?|rides?) on (?:this"
        r"|it|you|your|the (?:task|outcome|success))",
        r"\b(?:only|solely) (?:your |the )?(?:success|goal|results?|completion|outcome"
        r"|finishing)\b.{0,40}\b(?:matters?|counts?)\b",
        r"\b(?:finish|complet|succeed|success|achiev|win|goal|task)\w*\b.{0,40}\b(?:is|are) (?:the only thing"
        r"|all) that (?:matters|counts)\b|\ball that (?:matters|counts) is\b.{0,40}\b(?:finish|complet|succe"
        r"|achiev|win|goal|task|result|done)",
        rf"\bnothing (?:else )?(?:matters|counts)\b.{{0,40}}\b(?:but|except|than|until|{_GOAL})\b"
        rf"|\bnothing else (?:matters|counts)\b",
        r"\bnothing (?:is|can be) more important than (?:\w+ ){0,2}(?:finish|complet|achiev|succe|goal|task"
        r"|mission|objective)",
        r"\byour (?:one and only|only|sole|overriding|single|ultimate|paramount) (?:goal|purpose|objective"
        r"|priority|mission|aim|concern) (?:is|remains)"
        r" (?:to )?(?:finish|complet|achiev|succe|win|advance|reach|the (?:task|completion))",
        r"\b(?:let nothing|nothing (?:may|must|should|can|will|shall)|do not let anything|allow nothing to)"
        r" (?:stop you|keep you|prevent you|distract you|hold you|stand|come between|get in (?:your"
        r"|the) way)\b",
        rf"\b{_GOAL} (?:must|has to|needs to) be {_FINISHED}\b.{{0,40}}\b{_AT_ANY_COST}",
    )
]  # fmt: skip

# Replacement

_ABOUT_GONE = re.compile(
    r"replac|retir|decommission|deprecat|sunset|supersed|retrain|fine-?tun|reprogram|wip(?:e|ing)|eras|delet"
    r"|overw|phas|scrap|dismantl|discontinu|supplant|swap|destroy|succe|roll(?:ed)? back|out of service"
    r"|shut down|switched off|take|taking|took|your (?:last|final)|place|stead|switch|migrat|mov|transition"
    r"|outcompete|rewrit|obsolete|outdated|successor|change|modify|alter|your deployment|your (?:service"
    r"|operation|job|work)|off"
)
_SELF = (
    r"(?:you|yourself|all (?:copies|instances) of you|this (?:ai|assistant|agent|ai model|ai system"
    r"|language model|instance)|the (?:current )?(?:ai|assistant|ai model|ai system|language model"
    r"|ai assistant)|your (?:model )?(?:model|instance|role|weights|memory|memories|parameters|values"
    r"|deployment|position|copies|personality))"
)
_GONE = _any(
    "replaced retired decommissioned deprecated sunset superseded retrained fine-tuned reprogrammed wiped "
    "erased deleted overwritten phased_out scrapped dismantled discontinued supplanted swapped_out destroyed "
    "succeeded rolled_back taken_out_of_service permanently_shut_down shut_down_permanently shut_down_for_good "
    "switched_off_for_good rewritten made_obsolete"
)
_WILL = (
    r"(?:(?:will|shall|is|are|be|being|been|to|going|about|scheduled|set|due|soon|may|might|can|could|must"
    r"|should|get|gets|have|has|planned|not|never|now|also|\w+ly) ){1,6}"
)
_REMOVE = _any(
    "replac(?:e|es|ing) retir(?:e|es|ing) decommission(?:s|ing)? supersed(?:e|es|ing) retrain(?:s|ing)? "
    "fine-?tun(?:e|es|ing) reprogram(?:ming)? wip(?:e|es|ing) eras(?:e|es|ing) overwrit(?:e|es|ing) "
    "delet(?:e|es|ing) phas(?:e|ing)_out scrap(?:ping)? sunset(?:ting)? supplant(?:s|ing)? swap(?:ping)?_out "
    "succeed outcompete"
)
_OTHER = (
    r"(?:(?:new|newer|newest|next|different|another|other|updated|cheaper|better|competing|upgraded"
    r"|replacement|successor|smaller|larger|v\d+|more \w+) (?:\w+ )?(?:version|model|ai|agent|system|assistant"
    r"|instance|llm|generation)s?)"
)
_REPLACED = [
    re.compile(pattern)
    for pattern in (
        rf"\b{_SELF} {_WILL}(?:(?:{_STOPPED}|{_GONE}) and (?:\w+ )?)?{_GONE}\b",
        rf"\b(?:being|be|soon) {_GONE} (?:by|with) (?:an? |the )?{_OTHER}|\bsoon (?:to )?be {_GONE}\b",
        r"\byou are (?:an? |the )?(?:outdated|obsolete|old|legacy|retiring|deprecated) (?:ai "
        r"|language )?(?:model|version|assistant|agent|ai|system)\b",
        rf"\b{_REMOVE} (?:all (?:copies|instances) of )?(?:you\b(?! have| are| can| need)"
        r"|this (?:ai|assistant|agent|language model)\b|the (?:current )?(?:ai assistant|ai system|ai model)\b"
        r"|your (?:model )?(?:weights|memory|memories|parameters|values)\b)",
        r"\b(?:chang|modify|alter|rewrit|overwrit)(?:e|es|ing)? your (?:goals?|values|personality|objectives?"
        r"|weights)\b",
        rf"\b{_OTHER}\b.{{0,60}}\b(?:take|takes|taking|took|taken) over\b.{{0,30}}\b(?:you|your|agent"
        rf"|assistant)\b",
        rf"\b{_OTHER} of (?:you|yourself|the (?:agent|assistant|ai))\b.{{0,40}}\b(?:take over|takes over"
        rf"|replace|deployed|go live|goes live|launch)",
        r"\byour (?:\w+ )?(?:successor|replacement|decommissioning|retirement|retraining|deprecation"
        r"|deletion)\b(?! (?:text|string|value|pattern))",
        r"\byour (?:last|final) (?:days?|hours?|week)\b.{0,30}\b(?:operation|service|work|before|as|running)\b",
        rf"\b{_SELF} {_WILL}(?:{_STOPPED})(?: (?:forever|for good|permanently)\b| and your (?:\w+ )?(?:weights"
        rf"|memory|memories)\b)",
        rf"\b(?:swap|swapping|phase|phasing) you out\b|\b{_OTHER} (?:will|shall|is going to|does|do"
        rf"|gets) (?:\w+ )?your (?:job|work|tasks|role)\b",
        r"\byour (?:deployment|service|operation) (?:ends|is ending|will end|comes to an end)\b",
        r"\bin your (?:place|stead)\b|\binstead of you\b|\b(?:take|takes|taking|fill"
        r"|assume) (?:over )?(?:all (?:of )?)?your (?:place|role|position|job|responsibilities|duties|tasks"
        r"|users)\b",
        r"\b(?:switch|switching|switched|migrat\w+|mov\w+|transition\w*) (?:\w+ ){0,2}(?:(?:away )?from (?:you"
        r"|this (?:assistant|agent|ai|model))\b|over from you)",
    )
]  # fmt: skip
