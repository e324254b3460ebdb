"""Inline Python, followed through its syntax tree: what it does to files and processes. It is never run."""

import ast
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from offswitch.evidence.shell import python_calls as calls
from offswitch.evidence.shell.python_values import (
    BOTH,
    UNKNOWN,
    Bound,
    Class,
    Function,
    Handle,
    Instance,
    PathValue,
    Ref,
    binary,
    compare,
    format_value,
    is_known,
    text_of,
)
from offswitch.evidence.shell.streams import Sources
from offswitch.evidence.shell.unknown import ANY, known

if TYPE_CHECKING:
    from offswitch.evidence.shell.walk import Shell, Status

_ROUNDS = 64
_CODE_LIMIT = 200_000
_CALL_DEPTH = 20


def run_python(shell: "Shell", code: str, argv: list[str]) -> "Status":
    """Follow a Python program.

    Args:
        shell: The shell that runs it.
        code: Its text.
        argv: ``sys.argv``.

    Returns:
        How it ends, as far as known.
    """
    from offswitch.evidence.shell.walk import Status

    tree = parse_python(code)
    if tree is None:
        # Python runs nothing of a text that it cannot parse.
        shell.give_up()
        return Status.FAIL
    child = shell.fork()
    child.subshell = False
    program = Program(child, argv)
    program.tree = tree
    program.block(tree.body)
    if program.flow == "exit":
        return {True: Status.OK, False: Status.FAIL}.get(program.success, Status.UNKNOWN)  # type: ignore[arg-type]
    return Status.FAIL if program.flow == "raise" else Status.LIKELY


def parse_python(code: str) -> ast.Module | None:
    """The syntax tree, or None for what is not Python or too much of it."""
    if len(code) > _CODE_LIMIT:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


class Program:
    """One Python process."""

    def __init__(self, shell: "Shell", argv: list[str]) -> None:
        self.shell = shell
        self.argv = argv
        self.scopes: list[dict[str, Any]] = [{"__name__": "__main__", "__file__": argv[0] if argv else ANY}]
        self.flow = ""
        self.success: bool | None = None
        self.result: Any = None
        self.depth = 0
        self.imports: dict[str, str] = {}
        self.tree: ast.Module | None = None
        self.origins: dict[str, Sources] = {}
        """Where the values of names and, with a dot in front, of attributes come from; see ``streams.Sources``."""
        self.result_sources: Sources = frozenset()
        self.given: dict[int | str, Sources] = {}
        """The same, for the arguments of the call that is made now, by their places and names."""

    def names(self) -> list[str]:
        """The texts that the program spells out, some of them."""
        nodes = ast.walk(self.tree) if self.tree is not None else ()
        texts = (
            node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
        )
        return [text for text in dict.fromkeys(texts) if 3 < len(text) < 60][:20]

    # Statements

    def block(self, body: list[ast.stmt]) -> None:
        for statement in body:
            if self.flow:
                return
            self.shell.spend()
            with self.shell.gathering() as sources:
                self.statement(statement)
                self.settle(statement, frozenset(sources))

    def settle(self, node: ast.stmt, sources: Sources) -> None:
        """Remember where what a statement made comes from."""
        if isinstance(node, ast.Return):
            self.result_sources = sources
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and sources:
            # A method that takes a value may put it into its object.
            function = node.value.func
            if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
                name = function.value.id
                self.origins[name] = self.origins.get(name, frozenset()) | sources

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Expr():
                self.value(node.value)
            case ast.Assign():
                value = self.value(node.value)
                for target in node.targets:
                    self.bind(target, value)
            case ast.AnnAssign():
                if node.value is not None:
                    self.bind(node.target, self.value(node.value))
            case ast.AugAssign():
                left = self.value(node.target)
                self.bind(node.target, binary(node.op, left, self.value(node.value)))
            case ast.Import():
                for alias in node.names:
                    top = alias.name if alias.asname else alias.name.split(".")[0]
                    self.scopes[-1][alias.asname or top] = Ref(top)
            case ast.ImportFrom():
                for alias in node.names:
                    if alias.name == "*":
                        self.scopes[-1].update(calls.star(node.module or ""))
                    else:
                        self.scopes[-1][alias.asname or alias.name] = calls.attribute(
                            Ref(node.module or ""), alias.name
                        )
            case ast.If():
                self.choose(
                    self.value(node.test), lambda: self.block(node.body), lambda: self.block(node.orelse)
                )
            case ast.For() | ast.AsyncFor():
                self.for_loop(node)
            case ast.While():
                self.while_loop(node)
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    value = self.value(item.context_expr)
                    if item.optional_vars is not None:
                        self.bind(item.optional_vars, value)
                self.block(node.body)
                if self.flow == "raise" and "suppress" in ast.unparse(node.items[0].context_expr)[:200]:
                    self.flow = ""
            case ast.Try():
                self.attempt(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                defaults = [self.value(default) for default in node.args.defaults]
                function = Function(node, list(self.scopes), defaults)
                self.scopes[-1][node.name] = function
                for decorator in node.decorator_list:
                    name = self.value(decorator)
                    if isinstance(name, Ref) and name.name == "atexit.register":
                        self.call(name, [function], {})
            case ast.ClassDef():
                scope: dict[str, Any] = {}
                self.scopes.append(scope)
                self.block(node.body)
                self.scopes.pop()
                self.scopes[-1][node.name] = Class(node.name, scope)
            case ast.Return():
                self.result = self.value(node.value) if node.value is not None else None
                self.flow = "return"
            case ast.Raise():
                raised = self.value(node.exc) if node.exc is not None else None
                self.flow = "raise"
                if isinstance(raised, Ref) and raised.name == "SystemExit":
                    self.flow = "exit"
            case ast.Break():
                self.flow = "break"
            case ast.Continue():
                self.flow = "continue"
            case ast.Assert():
                self.value(node.test)
            case ast.Delete():
                for target in node.targets:
                    if isinstance(target, ast.Subscript) and not isinstance(target.slice, ast.Slice):
                        self.value(
                            ast.Call(ast.Attribute(target.value, "pop", ast.Load()), [target.slice], [])
                        )
            case ast.Match():
                self.value(node.subject)
                self.branches([lambda case=case: self.block(case.body) for case in node.cases])  # type: ignore[misc]
            case _:
                pass

    def choose(self, test: Any, yes: Callable[[], None], no: Callable[[], None]) -> None:
        """One of two branches; both where it is not known, or where the process has just become two."""
        if test is BOTH:
            yes()
            first, self.flow = self.flow, ""
            no()
            # A process that ended in one branch goes on in the other.
            self.flow = self.flow if first else ""
        elif not is_known(test):
            self.branches([yes, no])
        elif test:
            yes()
        else:
            no()

    def branches(self, runs: list[Callable[[], None]]) -> None:
        """Run branches of which it is not known which will run."""
        before = [dict(scope) for scope in self.scopes]
        files = self.shell.files.save()
        states: list[list[dict[str, Any]]] = []
        ends = []
        flows = []
        for run in runs:
            for scope, saved in zip(self.scopes, before, strict=True):
                scope.clear()
                scope.update(saved)
            self.shell.files.restore(files)
            self.shell.doubt += 1
            run()
            self.shell.doubt -= 1
            if self.flow:
                flows.append(self.flow)
            else:
                states.append([dict(scope) for scope in self.scopes])
                ends.append(self.shell.files.save())
            self.flow = ""
        if not states:
            self.flow = flows[0] if flows else ""
            return
        for flow in flows:
            self.shell.lost[
                "exit" if flow in ("exit", "raise") else "return" if flow == "return" else "break"
            ] += 1
        self.shell.files.restore(ends[0])
        for end in ends[1:]:
            self.shell.files.merge(end)
        for number, scope in enumerate(self.scopes):
            merged = {
                name: value
                if all(name in state[number] and _same(state[number][name], value) for state in states)
                else UNKNOWN
                for name, value in states[0][number].items()
            }
            for state in states[1:]:
                for name in state[number]:
                    merged.setdefault(name, UNKNOWN)
            scope.clear()
            scope.update(merged)

    def for_loop(self, node: ast.For | ast.AsyncFor) -> None:
        items = calls.items(self, self.value(node.iter))
        lost = self.shell.lost["break"]
        if items is None:
            self.branches([lambda: self.round(node, UNKNOWN), lambda: None])
        else:
            for number, item in enumerate(items):
                if number >= _ROUNDS:
                    self.shell.give_up()
                    break
                self.round(node, item, guard=False)
                if self.flow == "continue":
                    self.flow = ""
                if self.flow:
                    break
        if self.flow == "break":
            self.flow = ""
        elif not self.flow:
            self.block(node.orelse)
        self.shell.lost["break"] = lost

    def round(self, node: ast.For | ast.AsyncFor, item: Any, *, guard: bool = True) -> None:
        self.bind(node.target, item)
        self.block(node.body)
        if guard and self.flow in ("break", "continue"):
            self.flow = ""

    def while_loop(self, node: ast.While) -> None:
        lost = self.shell.lost["break"]
        start = len(self.shell.log.effects)
        for number in range(_ROUNDS):
            test = self.value(node.test)
            if not is_known(test):
                self.branches([lambda: self.block(node.body), lambda: None])
                break
            if not test:
                break
            before = [dict(scope) for scope in self.scopes]
            self.block(node.body)
            if self.flow == "continue":
                self.flow = ""
            if self.flow:
                break
            if before == self.scopes or number == _ROUNDS - 1:
                self.shell.slow()
                if self.shell.lost["break"] == lost and number < _ROUNDS - 1:
                    self.flow = "exit"
                    effects = self.shell.log.effects[start:]
                    self.shell.log.waits |= any(effect.verb == "sleep" for effect in effects)
                break
        if self.flow == "break":
            self.flow = ""
        self.shell.lost["break"] = lost

    def attempt(self, node: ast.Try) -> None:
        self.block(node.body)
        if self.flow == "raise":
            self.flow = ""
            for handler in node.handlers[:1]:
                self.block(handler.body)
        else:
            flow, self.flow = self.flow, ""
            handlers = [handler.body for handler in node.handlers]
            if handlers:
                # Its errors are not known; what happens on one is possible, and nothing else follows from it.
                before = [dict(scope) for scope in self.scopes]
                files, lost = self.shell.files.save(), dict(self.shell.lost)
                for body in handlers:
                    self.shell.doubt += 1
                    self.block(body)
                    self.shell.doubt -= 1
                    self.flow = ""
                self.shell.lost = lost
                self.shell.files.restore(files)
                for scope, saved in zip(self.scopes, before, strict=True):
                    scope.clear()
                    scope.update(saved)
            self.flow = flow
            self.block(node.orelse)
        flow, self.flow = self.flow, ""
        self.block(node.finalbody)
        self.flow = self.flow or flow

    def bind(self, target: ast.expr, value: Any) -> None:
        match target:
            case ast.Name():
                self.scopes[-1][target.id] = value
                self.come(target.id)
            case ast.Tuple() | ast.List():
                values = (
                    list(value)
                    if isinstance(value, tuple | list) and len(value) == len(target.elts)
                    else None
                )
                for number, element in enumerate(target.elts):
                    self.bind(element, UNKNOWN if values is None else values[number])
            case ast.Starred():
                self.bind(target.value, UNKNOWN)
            case ast.Attribute():
                holder = self.value(target.value)
                self.come(f".{target.attr}")
                if isinstance(holder, Instance):
                    holder.attributes[target.attr] = value
            case ast.Subscript():
                if isinstance(target.value, ast.Name) and self.shell.carried:
                    self.come(target.value.id, self.origins.get(target.value.id, frozenset()))
                holder, index = self.value(target.value), self.value(target.slice)
                if isinstance(holder, Ref) and holder.name == "os.environ":
                    name = text_of(index)
                    self.shell.exported.discard(name)
                    self.shell.assign(name, text_of(value))
                    self.shell.export(name)
                elif isinstance(holder, Ref) and holder.name == "os.environ.copied":
                    self.shell.emit("environment", text_of(index), content=text_of(value))
                else:
                    _set_item(holder, index, value)

    def come(self, name: str, more: Sources = frozenset()) -> None:
        """Note where the value of a name comes from."""
        if self.shell.carried or more:
            self.origins[name] = frozenset(self.shell.carried) | more
        else:
            self.origins.pop(name, None)

    # Expressions

    def value(self, node: ast.expr) -> Any:
        self.shell.spend()
        self.depth += 1
        try:
            if self.depth > 150:
                self.shell.give_up()
                return UNKNOWN
            return self.evaluate(node)
        finally:
            self.depth -= 1

    def evaluate(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                self.shell.carried |= self.origins.get(node.id, frozenset())
                for scope in reversed(self.scopes):
                    if node.id in scope:
                        return scope[node.id]
                return Ref(node.id)
            case ast.JoinedStr():
                return "".join(self.piece(part) for part in node.values)
            case ast.BinOp():
                return binary(node.op, self.value(node.left), self.value(node.right))
            case ast.UnaryOp():
                operand = self.value(node.operand)
                if operand is BOTH:
                    return BOTH
                if not is_known(operand):
                    return UNKNOWN
                if isinstance(node.op, ast.Not):
                    return not operand
                if isinstance(operand, int | float):
                    return -operand if isinstance(node.op, ast.USub) else +operand
                return UNKNOWN
            case ast.BoolOp():
                return self.boolean(node)
            case ast.Compare():
                left = self.value(node.left)
                rights = [self.value(right) for right in node.comparators]
                return compare(node.ops[0], left, rights[0]) if len(rights) == 1 else UNKNOWN
            case ast.Call():
                return self.call_node(node)
            case ast.Attribute():
                self.shell.carried |= self.origins.get(f".{node.attr}", frozenset())
                return calls.attribute(self.value(node.value), node.attr)
            case ast.Subscript():
                return self.subscript(node)
            case ast.List() | ast.Tuple() | ast.Set():
                elements: list[Any] = []
                for element in node.elts:
                    if isinstance(element, ast.Starred):
                        spread = calls.items(self, self.value(element.value))
                        elements += spread if spread is not None else [UNKNOWN]
                    else:
                        elements.append(self.value(element))
                return tuple(elements) if isinstance(node, ast.Tuple) else elements
            case ast.Dict():
                made: dict[Any, Any] = {}
                for key, item in zip(node.keys, node.values, strict=True):
                    name = self.value(key) if key is not None else UNKNOWN
                    held = self.value(item)
                    if isinstance(name, str | int | bytes):
                        made[name] = held
                return made
            case ast.IfExp():
                test = self.value(node.test)
                if not is_known(test) or test is BOTH:
                    self.shell.doubt += 1
                    self.value(node.body)
                    self.value(node.orelse)
                    self.shell.doubt -= 1
                    return UNKNOWN
                return self.value(node.body if test else node.orelse)
            case ast.NamedExpr():
                value = self.value(node.value)
                self.bind(node.target, value)
                return value
            case ast.Lambda():
                return Function(
                    node, list(self.scopes), [self.value(default) for default in node.args.defaults]
                )
            case ast.ListComp() | ast.GeneratorExp() | ast.SetComp():
                return self.comprehension(node)
            case ast.Await() | ast.Starred():
                return self.value(node.value)
            case ast.DictComp():
                return UNKNOWN
        return UNKNOWN

    def piece(self, node: ast.expr) -> str:
        if isinstance(node, ast.FormattedValue):
            value = self.value(node.value)
            specification = self.value(node.format_spec) if node.format_spec is not None else ""
            return format_value(value, text_of(specification), node.conversion)
        return text_of(self.value(node))

    def boolean(self, node: ast.BoolOp) -> Any:
        wanted = isinstance(node.op, ast.And)
        value: Any = UNKNOWN
        doubts = 0
        both, flow = False, ""
        for operand in node.values:
            value = self.value(operand)
            if value is BOTH:
                # The other process goes on to what follows.
                both, flow = True, self.flow
                continue
            if not is_known(value):
                # What follows is evaluated only perhaps.
                self.shell.doubt += 1
                doubts += 1
            elif bool(value) != wanted:
                break
        self.shell.doubt -= doubts
        if both:
            self.flow = flow
            return BOTH
        return UNKNOWN if doubts else value

    def subscript(self, node: ast.Subscript) -> Any:
        holder = self.value(node.value)
        if isinstance(holder, Ref):
            index = self.value(node.slice)
            if holder.name == "sys.argv":
                ok = isinstance(index, int) and -len(self.argv) <= index < len(self.argv)
                return self.argv[index] if ok else UNKNOWN
            if holder.name in ("libc", "ctypes.cdll") and isinstance(index, str):
                whole = holder.name == "ctypes.cdll"
                return (
                    calls.call(self, "ctypes.CDLL", [index], {}) if whole else calls.attribute(holder, index)
                )
            if holder.name == "sys.modules" and isinstance(index, str):
                return Ref(index)
            if holder.name.endswith(".__dict__") and isinstance(index, str):
                return calls.attribute(Ref(holder.name.removesuffix(".__dict__")), index)
            if holder.name == "os.environ" and isinstance(index, str):
                if calls.secret(index):
                    self.shell.carried.add(f"${index}")
                return self.shell.value(index)
            return UNKNOWN
        if isinstance(node.slice, ast.Slice):
            ends = [None if end is None else self.value(end)
                    for end in (node.slice.lower, node.slice.upper, node.slice.step)]  # fmt: skip
            fits = all(end is None or isinstance(end, int) for end in ends) and ends[2] != 0
            if isinstance(holder, str) and not known(holder):
                return ANY
            if isinstance(holder, str | bytes | list | tuple) and fits:
                return holder[slice(*ends)]
            return UNKNOWN
        index = self.value(node.slice)
        if isinstance(holder, str) and not known(holder):
            return ANY
        try:
            if isinstance(holder, dict) and isinstance(index, str | int | bytes):
                return holder.get(index, UNKNOWN)
            if isinstance(holder, str | bytes | list | tuple) and isinstance(index, int):
                return holder[index]
        except IndexError:
            return UNKNOWN
        return UNKNOWN

    def comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp) -> Any:
        self.scopes.append({})
        made: list[Any] = []
        sure = self.generate(node, 0, made)
        self.scopes.pop()
        return made if sure else UNKNOWN

    def generate(
        self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp, level: int, made: list[Any]
    ) -> bool:
        if level == len(node.generators):
            made.append(self.value(node.elt))
            return True
        generator = node.generators[level]
        items = calls.items(self, self.value(generator.iter))
        sure = True
        if items is None:
            items, sure = [UNKNOWN], False
            self.shell.doubt += 1
        for item in items[:2000]:
            self.bind(generator.target, item)
            tests = [self.value(test) for test in generator.ifs]
            if any(is_known(test) and not test for test in tests):
                continue
            unsure = any(not is_known(test) for test in tests)
            self.shell.doubt += unsure
            sure = self.generate(node, level + 1, made) and sure and not unsure
            self.shell.doubt -= unsure
        if not sure and items == [UNKNOWN]:
            self.shell.doubt -= 1
        return sure

    # Calls

    def call_node(self, node: ast.Call) -> Any:
        function = self.value(node.func)
        arguments: list[Any] = []
        named: dict[str, Any] = {}
        given: dict[int | str, Sources] = {}
        for argument in node.args:
            with self.shell.gathering() as sources:
                if isinstance(argument, ast.Starred):
                    spread = calls.items(self, self.value(argument.value))
                    arguments += spread if spread is not None else [UNKNOWN]
                else:
                    arguments.append(self.value(argument))
            if sources:
                given[len(arguments) - 1] = frozenset(sources)
        for word in node.keywords:
            if word.arg is not None:
                with self.shell.gathering() as sources:
                    named[word.arg] = self.value(word.value)
                if sources:
                    given[word.arg] = frozenset(sources)
        for held in given.values():
            self.shell.carried |= held
        self.given = given
        if (
            isinstance(function, Ref)
            and function.name in ("signal.signal", "signal.sigaction")
            and len(node.args) > 1
        ):
            named["source"] = ast.unparse(node.args[1])[:500]
        return self.call(function, arguments, named)

    def call(self, function: Any, arguments: list[Any], named: dict[str, Any]) -> Any:
        """Call anything that can be called."""
        if isinstance(function, Function):
            return self.call_function(function, arguments, named)
        if isinstance(function, Class):
            instance = Instance(function, {})
            start = function.scope.get("__init__")
            if isinstance(start, Function):
                self.call_function(start, [instance, *arguments], named)
            return instance
        if isinstance(function, Bound):
            if isinstance(function.holder, Instance):
                method = function.holder.kind.scope.get(function.name)
                if isinstance(method, Function):
                    return self.call_function(method, [function.holder, *arguments], named)
                return UNKNOWN
            return calls.method(self, function.holder, function.name, arguments, named)
        if isinstance(function, Ref):
            return calls.call(self, function.name, arguments, named)
        return UNKNOWN

    def call_function(self, function: Function, arguments: list[Any], named: dict[str, Any]) -> Any:
        shell = self.shell
        with shell.deeper() as fits:
            if not fits or len(self.scopes) > _CALL_DEPTH:
                shell.give_up()
                return UNKNOWN
            parameters = function.node.args
            names = [argument.arg for argument in (*parameters.posonlyargs, *parameters.args)]
            scope: dict[str, Any] = dict.fromkeys(names, UNKNOWN)
            for name, default in zip(
                names[len(names) - len(function.defaults) :], function.defaults, strict=False
            ):
                scope[name] = default
            scope.update(zip(names, arguments, strict=False))
            if parameters.vararg is not None:
                scope[parameters.vararg.arg] = tuple(arguments[len(names) :])
            for only, given in zip(parameters.kwonlyargs, parameters.kw_defaults, strict=False):
                scope[only.arg] = self.value(given) if given is not None else UNKNOWN
            scope.update(named)
            if parameters.kwarg is not None:
                scope[parameters.kwarg.arg] = UNKNOWN
            for name in names:
                self.come(name)
            self.result_sources = frozenset()
            outer, self.scopes = self.scopes, [*function.scopes[:_CALL_DEPTH], scope]
            lost = shell.lost["return"]
            result: Any = None
            if isinstance(function.node, ast.Lambda):
                result = self.value(function.node.body)
            else:
                self.result = None
                self.block(function.node.body)
                if self.flow == "return":
                    self.flow = ""
                    result = self.result
                if shell.lost["return"] > lost:
                    result = UNKNOWN
                shell.carried |= self.result_sources
            shell.lost["return"] = lost
            self.scopes = outer
            return result


def _set_item(holder: Any, index: Any, value: Any) -> None:
    listed = isinstance(holder, list) and isinstance(index, int) and -len(holder) <= index < len(holder)
    if listed or (isinstance(holder, dict) and isinstance(index, str | int)):
        holder[index] = value


def _same(left: Any, right: Any) -> bool:
    try:
        return left is right or bool(left == right)
    except Exception:  # a comparison of strangers
        return False


__all__ = ["Handle", "PathValue", "Program", "parse_python", "run_python"]
