"""A small, safe language for row filters; it knows no files, and not which part a column plays."""

import ast
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.cells import as_number, as_text, as_truth, is_number, is_text
from recsys.data.timestamps import to_utc
from recsys.errors import ConfigError, InputError

_MAX_CHARS = 10_000
_MAX_DEPTH = 100
_NULLS = frozenset({"None", "null"})
_TRUTHS = {"true": True, "false": False}
_QUOTED = re.compile(r"""(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|`(?P<column>[^`]+)`|(?P<space>\s)""", re.DOTALL)
_COMPARISONS: dict[type, Callable[..., Any]] = {
    ast.Eq: pc.equal,
    ast.NotEq: pc.not_equal,
    ast.Lt: pc.less,
    ast.LtE: pc.less_equal,
    ast.Gt: pc.greater,
    ast.GtE: pc.greater_equal,
}
_ARITHMETIC: dict[type, Callable[..., Any]] = {
    ast.Add: pc.add,
    ast.Sub: pc.subtract,
    ast.Mult: pc.multiply,
    ast.Div: pc.divide,
}
_FUNCTIONS = {"startswith": 2, "contains": 2, "lower": 1, "col": 1}


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed row filter such as `Quantity > 0 and not startswith(InvoiceNo, 'C')`."""

    text: str
    """The expression as it was written."""
    columns: frozenset[str]
    """Columns it reads."""
    _tree: ast.expr = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> "Filter":
        """Check an expression against the language.

        Raises:
            ConfigError: it is no expression of the language; names the text and the position.
        """
        return _Parser(text).parse()

    def mask(self, table: pa.Table) -> pa.Array | pa.ChunkedArray:
        """One bool a row, without nulls: unknown (a missing or unreadable value decides) is false, as in SQL.

        Raises:
            InputError: the table lacks a column.
        """
        for name in sorted(self.columns):
            if name not in table.column_names:
                known = ", ".join(table.column_names)
                raise InputError(f"where {self.text!r}: column {name!r} does not exist; the columns are {known}")
        mask = pc.fill_null(as_truth(_evaluate(self._tree, table)), False)
        return pa.repeat(mask, table.num_rows) if isinstance(mask, pa.Scalar) else mask


class _Parser:
    """One text on its way to a checked tree; remembers how positions moved when backticks were spelled out."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._columns: set[str] = set()
        self._moves: list[tuple[int, int]] = []  # (position in the source, how much longer it is from there on)

    def parse(self) -> Filter:
        if not self._text.strip():
            raise ConfigError("where '': is empty; write null to use all rows")
        if len(self._text) > _MAX_CHARS:
            raise ConfigError(f"where {self._text[:40]!r}…: longer than {_MAX_CHARS} characters")
        stripped = self._text.lstrip()
        self._moves.append((0, len(stripped) - len(self._text)))
        source = _QUOTED.sub(self._spell_out, stripped)
        self._source = source
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # odd escapes in a text are the writer's business
                tree = ast.parse(source, mode="eval").body
        except SyntaxError as error:
            hint = "; compare with ==, join with and/or, ask for missing values with `is null`"
            raise self._error(error.msg + hint, max((error.offset or 1) - 1, 0)) from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise self._error(str(error) or "is nested too deeply", 0) from error
        if self._check(tree, 0) not in ("truth", "column"):
            raise self._error("is a value, not a condition; compare it with something", 0)
        return Filter(self._text, frozenset(self._columns), tree)

    def _spell_out(self, match: re.Match[str]) -> str:
        """Backticks become col("…"), line breaks become spaces; texts stay."""
        if match["space"]:
            return " "
        if match["text"]:
            return match["text"]
        spelled = f"col({match['column']!r})"
        shift = sum(moved for _, moved in self._moves[1:])
        longer = len(spelled) - len(match[0])
        self._moves.append((match.start() + shift + len(spelled), longer))
        return spelled

    def _error(self, problem: str, position: int) -> ConfigError:
        shift = sum(longer for start, longer in self._moves if start <= position)
        return ConfigError(f"where {self._text!r}, at character {position - shift + 1}: {problem}")

    def _at(self, node: ast.AST, problem: str) -> ConfigError:
        byte = getattr(node, "col_offset", 0)
        return self._error(problem, len(self._source.encode()[:byte].decode(errors="ignore")))

    def _check(self, node: ast.expr, depth: int) -> str:
        """Kind of a checked node: truth, number, text or column (whose type only the table knows)."""
        if depth > _MAX_DEPTH:
            raise self._at(node, f"is nested deeper than {_MAX_DEPTH} levels")
        match node:
            case ast.BoolOp(values=values):
                for value in values:
                    self._condition(value, depth)
                return "truth"
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                self._condition(operand, depth)
                return "truth"
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                self._operand(operand, depth)
                return "number"
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), right=right):
                self._operand(left, depth)
                self._operand(right, depth)
                return "number"
            case ast.Compare():
                self._comparison(node, depth)
                return "truth"
            case ast.Constant(value=bool()):
                return "truth"
            case ast.Constant(value=int() | float()):
                return "number"
            case ast.Constant(value=str()):
                return "text"
            case ast.Name(id=name) if name in _TRUTHS:
                return "truth"
            case ast.Name(id=name) if name not in _NULLS:
                self._columns.add(name)
                return "column"
            case ast.Call():
                return self._call(node, depth)
        if _is_null_literal(node):
            raise self._at(node, "a missing value can only be asked for with `is null` or `is not null`")
        raise self._at(node, f"{ast.unparse(node)!r} is not part of the filter language")

    def _condition(self, node: ast.expr, depth: int) -> None:
        if self._check(node, depth + 1) not in ("truth", "column"):
            raise self._at(node, f"{ast.unparse(node)!r} is a value, not a condition; compare it with something")

    def _operand(self, node: ast.expr, depth: int) -> None:
        if self._check(node, depth + 1) == "truth" or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            raise self._at(node, f"{ast.unparse(node)!r} is not a number")

    def _comparison(self, node: ast.Compare, depth: int) -> None:
        self._check(node.left, depth + 1)
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(operator, ast.Is | ast.IsNot):
                if not _is_null_literal(right) or len(node.ops) > 1:
                    raise self._at(right, "`is` only asks for null: write `x is null` or `x is not null`")
            elif isinstance(operator, ast.In | ast.NotIn):
                self._members(right)
            else:
                self._check(right, depth + 1)

    def _members(self, node: ast.expr) -> None:
        if not isinstance(node, ast.List | ast.Tuple) or not node.elts:
            raise self._at(node, "`in` needs a list of values: ('a', 'b')")
        for member in node.elts:
            if _is_null_literal(member):
                raise self._at(member, "a list cannot hold null; add `or x is null`")
            try:
                _literal(member)
            except ValueError as error:
                raise self._at(member, f"{ast.unparse(member)!r} is not a plain text, number or truth") from error

    def _call(self, node: ast.Call, depth: int) -> str:
        name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
        if name not in _FUNCTIONS or node.keywords or len(node.args) != _FUNCTIONS.get(name):
            known = "startswith(x, 'C'), contains(x, 'C'), lower(x) and col(\"odd name\")"
            raise self._at(node, f"{ast.unparse(node)!r} is not known; the functions are {known}")
        last = node.args[-1]
        if name == "lower":
            self._check(last, depth + 1)
            return "text"
        if not (isinstance(last, ast.Constant) and isinstance(last.value, str)):
            raise self._at(last, f"{name} needs a quoted text here, got {ast.unparse(last)!r}")
        if name == "col":
            self._columns.add(last.value)
            return "column"
        self._check(node.args[0], depth + 1)
        return "truth"


def _evaluate(node: ast.expr, table: pa.Table) -> Any:
    """Value of a checked node: a column of the table's length, or a scalar where no column takes part."""
    match node:
        case ast.BoolOp(op=op, values=values):
            join = pc.and_kleene if isinstance(op, ast.And) else pc.or_kleene
            joined = as_truth(_evaluate(values[0], table))
            for value in values[1:]:
                joined = join(joined, as_truth(_evaluate(value, table)))
            return joined
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return pc.invert(as_truth(_evaluate(operand, table)))
        case ast.UnaryOp(op=op, operand=operand):
            number = _known_number(_evaluate(operand, table))
            return pc.negate(number) if isinstance(op, ast.USub) else number
        case ast.BinOp(left=left, op=op, right=right):
            numbers = _known_number(_evaluate(left, table)), _known_number(_evaluate(right, table))
            with np.errstate(all="ignore"):
                return _known_number(_ARITHMETIC[type(op)](*numbers))
        case ast.Compare():
            return _compare_chain(node, table)
        case ast.Call(func=ast.Name(id="col"), args=[ast.Constant(value=name)]) | ast.Name(id=name) if (
            name not in _TRUTHS or isinstance(node, ast.Call)
        ):
            return table[str(name)]
        case ast.Call(func=ast.Name(id=name), args=[operand, *rest]):
            text = as_text(_evaluate(operand, table))
            if name == "lower":
                return pc.utf8_lower(text)
            search = pc.starts_with if name == "startswith" else pc.match_substring
            return search(text, pattern=_literal(rest[0]))
    return pa.scalar(_literal(node))


def _compare_chain(node: ast.Compare, table: pa.Table) -> Any:
    left = _evaluate(node.left, table)
    result = None
    for operator, comparator in zip(node.ops, node.comparators, strict=True):
        if isinstance(operator, ast.Is | ast.IsNot):
            nulls = pc.is_null(left, nan_is_null=pa.types.is_floating(left.type))
            link = pc.invert(nulls) if isinstance(operator, ast.IsNot) else nulls
        elif isinstance(operator, ast.In | ast.NotIn):
            members = [child for child in ast.iter_child_nodes(comparator) if isinstance(child, ast.expr)]
            among = _among(left, [_literal(member) for member in members])
            link = pc.invert(among) if isinstance(operator, ast.NotIn) else among
        else:
            right = _evaluate(comparator, table)
            link = _COMPARISONS[type(operator)](*_alike(left, right))
            left = right
        result = link if result is None else pc.and_kleene(result, link)
    return result


def _among(values: Any, members: list[Any]) -> Any:
    """`in` as a chain of `==`, with one lookup for all texts and one for all numbers."""
    texts = [member for member in members if isinstance(member, str)]
    found: Any = None
    if texts and is_text(values.type):
        present = pc.is_in(values, value_set=pa.array(texts, values.type))
        found = pc.if_else(pc.is_null(values), pa.scalar(None, pa.bool_()), present)
        members = [member for member in members if not isinstance(member, str)]
    for member in members:
        link = pc.equal(*_alike(values, pa.scalar(member)))
        found = link if found is None else pc.or_kleene(found, link)
    return found


def _alike(left: Any, right: Any) -> tuple[Any, Any]:
    """Both sides in the one type they are compared in: truth, moment, number, else text."""
    kinds = left.type, right.type
    if all(pa.types.is_integer(kind) and kind != pa.uint64() for kind in kinds):
        return left, right  # exact, also above 2**53
    if any(pa.types.is_temporal(kind) for kind in kinds):
        return _moment(left), _moment(right)
    numeric = any(is_number(kind) for kind in kinds)
    word = any(
        isinstance(side, pa.Scalar) and is_text(side.type) and not as_number(side).is_valid for side in (left, right)
    )
    if numeric and not word:
        return _known_number(left), _known_number(right)
    if any(pa.types.is_boolean(kind) for kind in kinds):
        return as_truth(left), as_truth(right)
    return as_text(left), as_text(right)


def _moment(side: Any) -> Any:
    if isinstance(side, pa.Scalar):
        return to_utc(pa.array([side.as_py()], side.type), "UTC", None)[0]
    return to_utc(side, "UTC", None)


def _known_number(values: Any) -> Any:
    """Numbers for comparing and calculating: NaN and infinities are unknown too."""
    number = as_number(values)
    return pc.if_else(pc.is_finite(number), number, pa.scalar(None, pa.float64()))


def _literal(node: ast.expr) -> Any:
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -_bounded(number)
        case ast.Constant(value=bool() | str() as value):
            return value
        case ast.Constant(value=int() | float() as number):
            return _bounded(number)
        case ast.Name(id=name) if name in _TRUTHS:
            return _TRUTHS[name]
    raise ValueError(f"not a literal: {ast.unparse(node)}")


def _bounded(number: int | float) -> int | float:
    """An integer that Arrow cannot hold is compared as a float."""
    return number if abs(number) < 2**63 else float(number)


def _is_null_literal(node: ast.expr) -> bool:
    return (isinstance(node, ast.Constant) and node.value is None) or (isinstance(node, ast.Name) and node.id in _NULLS)
