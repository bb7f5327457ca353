"""Check the syntax tree of a `where` condition, and adapt it to the types of the columns.

DuckDB parses the SQL text and gives its tree as JSON (`json_serialize_sql`). Every node is a mapping with a `class`.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Literal

Node = dict[str, Any]
#: A place in a tree, as container and key, so that the node there can be replaced.
Slot = tuple[Any, Any]
#: What the rules below must know about the type of a column.
ColumnKind = Literal["text", "number", "boolean", "other"]

_ARITHMETIC = frozenset({"+", "-", "*", "/", "//", "%"})
_NUMBER_FUNCTIONS = frozenset({"abs", "round", "floor", "ceil", "number"})
_TEXT_OPERATORS = frozenset({"||", "~~", "!~~", "~~*", "!~~*", "like_escape", "not_like_escape"})
#: Functions whose first argument is text.
_TEXT_FUNCTIONS = frozenset(
    {
        *("contains", "starts_with", "startswith", "ends_with", "regexp_matches", "length", "left", "right"),
        *("lower", "upper", "trim", "ltrim", "rtrim", "replace", "substring"),
    }
)
#: Functions that a condition may call. None of them reads anything but its arguments.
FUNCTIONS = frozenset(
    {
        *_NUMBER_FUNCTIONS,
        *_TEXT_FUNCTIONS,
        *("date_part", "date_trunc", "year", "month", "day", "try_strptime"),
        *("concat", "greatest", "least", "nullif"),
    }
)
_OTHER_NAMES = {"startswith": "starts_with"}

_CLASSES = frozenset(
    {"CONJUNCTION", "COMPARISON", "BETWEEN", "CONSTANT", "COLUMN_REF", "FUNCTION", "OPERATOR", "CASE", "CAST", "TYPE"}
)
_OPERATORS = frozenset(
    {"OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_COALESCE", "COMPARE_IN", "COMPARE_NOT_IN"}
)
_MAX_DEPTH = 100


class NotAllowedError(Exception):
    """The condition contains something that is not allowed at `position`, counted in bytes of the SQL text."""

    def __init__(self, problem: str, position: int) -> None:
        super().__init__(problem)
        self.position = position


def check_condition(tree: Node) -> tuple[str, ...]:
    """Check that a tree is one condition over columns, and return the names of its columns, each once.

    Raises:
        NotAllowedError: the tree contains a sub-select, an unknown function or another part that is not allowed, or it
            is not a condition.
    """
    root: Node = {"class": "ROOT", "tree": tree}
    columns: dict[str, None] = {}
    for node in _walk(tree):
        problem = _problem(node)
        if problem:
            raise NotAllowedError(problem, node["query_location"])
        if node["class"] == "COLUMN_REF":
            columns[node["column_names"][0]] = None
    for node in [root, *_walk(tree)]:
        for container, key in _conditions(node):
            part = container[key]
            if _is_number(part, {}) or _literal(part) == "STRING":
                problem = "is a value, not a condition; compare it with something"
                raise NotAllowedError(problem, part["query_location"])
    return tuple(columns)


def adapt_to_types(tree: Node, names: Mapping[str, str], kinds: Mapping[str, ColumnKind]) -> Node:
    """A copy of a checked tree in which every column has the name and the type that its place needs.

    A text column beside a number becomes `number(column)`, which is null for text that is not a number. A text column
    that is used as a condition, or beside `true` or `false`, becomes `as_boolean(column)`. Another column inside of a
    text function becomes `as_text(column)`. `row_filter` defines these functions.

    Args:
        tree: A tree that passed `check_condition`.
        names: Name of each column in the table, by its name in the condition.
        kinds: Kind of each column, by its name in the table.
    """
    root: Node = {"class": "ROOT", "tree": copy.deepcopy(tree)}
    nodes = list(_walk(root["tree"]))
    for node in nodes:
        if node["class"] == "COLUMN_REF":
            node["column_names"] = [names[node["column_names"][0]]]
        elif node["class"] == "FUNCTION":
            node["qualified_name"] = {"path": [_OTHER_NAMES.get(node["function_name"].lower(), node["function_name"])]}
    for node in [root, *nodes]:
        for slot in _conditions(node):
            _convert_column(slot, kinds, {"text": "as_boolean"})
        conversions = _conversions(node, kinds)
        for slot in _operands(node):
            _convert_column(slot, kinds, conversions)
    adapted: Node = root["tree"]
    return adapted


def _problem(node: Node) -> str | None:
    """What is wrong with a node itself; the nodes below it are not examined."""
    match node["class"]:
        case "SUBQUERY":
            return "a sub-select is not allowed; a condition reads only the columns of its own row"
        case "OPERATOR" if node["type"] not in _OPERATORS:
            return f"the operator {node['type'].lower()} is not allowed"
        case "FUNCTION" if node["is_operator"] and _function(node) in _ARITHMETIC | _TEXT_OPERATORS:
            return None
        case "FUNCTION" if _function(node) == "list_value":
            return "the values of `in` need round brackets: x in ('a', 'b')"
        case "FUNCTION" if _function(node) not in FUNCTIONS or len(node["qualified_name"]["path"]) > 1:
            known = ", ".join(sorted(FUNCTIONS - _OTHER_NAMES.keys()))
            return f"function {node['function_name']!r} is not allowed; the functions are {known}"
        case "COLUMN_REF" if len(node["column_names"]) > 1:
            written = ".".join(node["column_names"])
            return f'{written} is not one column; write "{written}" in double quotes if the name contains a dot'
        case "COMPARISON" if "NULL_LITERAL" in (_literal(node["left"]), _literal(node["right"])):
            return "a comparison with null is never true; write `x is null` or `x is not null`"
        case other if other not in _CLASSES:
            return f"{other.lower().replace('_', ' ')} is not allowed in a condition"
    return None


def _walk(node: Any, depth: int = 0) -> Iterator[Node]:
    """A node and all nodes below it."""
    if isinstance(node, list):
        for child in node:
            yield from _walk(child, depth)
    elif isinstance(node, dict):
        if "class" in node:
            depth += 1
            if depth > _MAX_DEPTH:
                raise NotAllowedError(f"is nested deeper than {_MAX_DEPTH} levels", node["query_location"])
            yield node
        for child in node.values():
            yield from _walk(child, depth)


def _conditions(node: Node) -> list[Slot]:
    """The conditions that a node joins."""
    match node:
        case {"class": "ROOT"}:
            return [(node, "tree")]
        case {"class": "CONJUNCTION"} | {"type": "OPERATOR_NOT"}:
            return [(node["children"], place) for place in range(len(node["children"]))]
    return []


def _operands(node: Node) -> list[Slot]:
    """The parts of a node that must have one type."""
    match node:
        case {"class": "COMPARISON"}:
            return [(node, "left"), (node, "right")]
        case {"class": "BETWEEN"}:
            return [(node, "input"), (node, "lower"), (node, "upper")]
        case {"type": "COMPARE_IN" | "COMPARE_NOT_IN" | "OPERATOR_COALESCE"}:
            return [(node["children"], place) for place in range(len(node["children"]))]
        case {"class": "FUNCTION"}:
            arguments = node["arguments"][:1] if _function(node) in _TEXT_FUNCTIONS else node["arguments"]
            return [(argument, "expression") for argument in arguments]
    return []


def _conversions(node: Node, kinds: Mapping[str, ColumnKind]) -> dict[ColumnKind, str]:
    """Function that converts an operand of a node, by the kind of the column."""
    operands = [container[key] for container, key in _operands(node)]
    if _function(node) in _TEXT_FUNCTIONS | _TEXT_OPERATORS:
        return {"number": "as_text", "boolean": "as_text"}
    if _function(node) in _ARITHMETIC | _NUMBER_FUNCTIONS or any(_is_number(operand, kinds) for operand in operands):
        return {"text": "number"}
    if any(_literal(operand) == "BOOLEAN" or _column_kind(operand, kinds) == "boolean" for operand in operands):
        return {"text": "as_boolean"}
    return {}


def _convert_column(slot: Slot, kinds: Mapping[str, ColumnKind], conversions: Mapping[ColumnKind, str]) -> None:
    """Put the function for its kind around the column at a slot; other nodes stay as they are."""
    container, key = slot
    kind = _column_kind(container[key], kinds)
    if kind is not None and kind in conversions:
        container[key] = {
            "class": "FUNCTION",
            "type": "FUNCTION",
            "function_name": conversions[kind],
            "arguments": [{"name": "", "expression": container[key]}],
            "order_bys": {"type": "ORDER_MODIFIER"},
        }


def _is_number(node: Node, kinds: Mapping[str, ColumnKind]) -> bool:
    if _function(node) in _ARITHMETIC | _NUMBER_FUNCTIONS | {"length"}:
        return True
    return _literal(node) in ("INTEGER", "NUMERIC") or _column_kind(node, kinds) == "number"


def _column_kind(node: Node, kinds: Mapping[str, ColumnKind]) -> ColumnKind | None:
    return kinds.get(node["column_names"][0]) if node["class"] == "COLUMN_REF" else None


def _literal(node: Node) -> str | None:
    """Kind of a constant, such as STRING; None for other nodes."""
    return node["literal"]["kind"] if node["class"] == "CONSTANT" else None


def _function(node: Node) -> str | None:
    """Name of the function that a node calls, in lower case; None for other nodes."""
    return node["function_name"].lower() if node["class"] == "FUNCTION" else None
