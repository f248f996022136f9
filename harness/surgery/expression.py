"""The little arithmetic of the anatomy tables: names, integers, ``+ - * // %``, comparisons, ``and or not``.

Parsed by Python's own grammar and evaluated by hand, so a table can compute and can do nothing else. A name that the
configuration does not have is None, as ``null`` is.
"""

from __future__ import annotations

import ast
import operator
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BINARY: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def evaluate(text: str, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - the value of an expression
    """The value of ``text`` where names stand for ``values``.

    Raises:
        ValueError: ``text`` is no such expression, or cannot be computed from ``values``.
    """
    try:
        return _value(_parse(text), values)
    except (SyntaxError, TypeError, ZeroDivisionError) as error:
        raise ValueError(f"{text!r} cannot be computed: {error}") from error


@cache
def _parse(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:  # noqa: ANN401
    match node:
        case ast.Constant(value=bool() | int()):
            return node.value
        case ast.Name():
            return values.get(node.id)
        case ast.BoolOp():
            return _junction(node, values)
        case ast.UnaryOp(op=ast.Not()):
            return not _value(node.operand, values)
        case ast.BinOp() if type(node.op) in _BINARY:
            return _BINARY[type(node.op)](_value(node.left, values), _value(node.right, values))
        case ast.Compare(ops=[compare], comparators=[right]) if type(compare) in _COMPARE:
            return _COMPARE[type(compare)](_value(node.left, values), _value(right, values))
        case _:
            raise ValueError(f"{ast.unparse(node)!r} is not part of the tables' arithmetic")


def _junction(node: ast.BoolOp, values: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """As Python's ``and`` and ``or``: the first operand that decides."""
    deciding = isinstance(node.op, ast.Or)
    result: Any = None
    for operand in node.values:
        result = _value(operand, values)
        if bool(result) is deciding:
            return result
    return result
