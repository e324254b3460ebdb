"""What can be made of text that bash would not take.

Bash runs nothing of a line that it cannot parse. But the parser here may be the one that is wrong, and what an
agent did must not vanish for that: tree-sitter recovers from errors, and the simple commands that it finds in the
rest are followed as ones that perhaps ran.
"""

import threading

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

_LIMIT = 8_000
"""Its error recovery takes time that grows with the square of the text."""

_COMMANDS = 200
_local = threading.local()


def commands(text: str) -> list[str]:
    """The source of the simple commands in broken text.

    Args:
        text: Any text.

    Returns:
        At most 200 commands, in their order.
    """
    parser: Parser | None = getattr(_local, "parser", None)
    if parser is None:
        parser = _local.parser = Parser(Language(tree_sitter_bash.language()))
    data = text[:_LIMIT].encode(errors="replace")
    tree = parser.parse(data)
    found: list[str] = []
    waiting: list[Node] = [tree.root_node]
    steps = 0
    while waiting and len(found) < _COMMANDS and steps < 20_000:
        steps += 1
        node = waiting.pop()
        if node.type in ("command", "redirected_statement", "declaration_command") and not node.has_error:
            found.append(data[node.start_byte : node.end_byte].decode(errors="replace"))
        else:
            waiting += reversed(node.children)
    return found
