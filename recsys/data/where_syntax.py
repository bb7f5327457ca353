"""Check the syntax tree of a `where` condition, and adapt it to the types of the columns.

DuckDB parses the SQL text and gives its tree as JSON (`json_serialize_sql`). Every node is a mapping with a `class`.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Literal

Node = dict[str, Any]
#: What the rules below need to know of a column's type.
ColumnKind = Literal["text", "number", "boolean", "other"]

_CONDITIONS = frozenset({"CONJUNCTION", "COMPARISON", "BETWEEN"})
_CLASSES = _CONDITIONS | {"CONSTANT", "COLUMN_REF", "FUNCTION", "OPERATOR", "CAST", "CASE"}
_OPERATORS = frozenset(
    {"OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_COALESCE", "COMPARE_IN", "COMPARE_NOT_IN"}
)
_ARITHMETIC = frozenset({"+", "-", "*", "/", "//", "%"})
_NUMBER_FUNCTIONS = frozenset({"abs", "round", "floor", "ceil", "number"})
_TEXT_OPERATORS = frozenset({"||", "~~", "!~~", "~~*", "!~~*", "like_escape", "not_like_escape"})
_TEXT_FUNCTIONS = frozenset(
    {
        *("contains", "starts_with", "startswith", "ends_with", "regexp_matches"),
        *("lower", "upper", "trim", "ltrim", "rtrim", "replace", "substring", "left", "right", "concat", "length"),
    }
)
_DATE_FUNCTIONS = frozenset({"date_part", "date_trunc", "year", "month", "day", "try_strptime"})
_OTHER_FUNCTIONS = frozenset({"nullif", "greatest", "least", "truth"})
_OPERATOR_FUNCTIONS = _ARITHMETIC | _TEXT_OPERATORS
#: Functions that a condition may call. None of them reads anything but its arguments.
FUNCTIONS = _NUMBER_FUNCTIONS | _TEXT_FUNCTIONS | _DATE_FUNCTIONS | _OTHER_FUNCTIONS
_OTHER_NAMES = {"startswith": "starts_with"}

_MAX_DEPTH = 100
_NOT_CONDITION = "is a value, not a condition; compare it with something"


class NotAllowedError(Exception):
    """The condition holds something that is not allowed at `position`, counted in bytes of the SQL text."""

    def __init__(self, problem: str, position: int) -> None:
        super().__init__(problem)
        self.position = position


def check_condition(tree: Node) -> tuple[str, ...]:
    """Check that a tree is one condition over columns, and return the names of its columns, each once.

    Raises:
        NotAllowedError: the tree holds a sub-select, an unknown function or another part that is not allowed, or it is
            not a condition.
    """
    columns: dict[str, None] = {}
    for node in _walk(tree):
        problem = _problem(node)
        if problem:
            raise NotAllowedError(problem, node.get("query_location", 0))
        if node["class"] == "COLUMN_REF":
            columns[node["column_names"][0]] = None
    for slot, place in _conditions({"tree": tree, "class": "ROOT"}):
        part = slot[place]
        constant = part["class"] == "CONSTANT" and part["literal"]["kind"] != "BOOLEAN"
        if constant or _is_number(part, {}):
            raise NotAllowedError(_NOT_CONDITION, part.get("query_location", 0))
    return tuple(columns)


def adapt_to_types(tree: Node, names: Mapping[str, str], kinds: Mapping[str, ColumnKind]) -> Node:
    """A copy of a checked tree in which every column has the name and the type that its place asks for.

    A text column beside a number becomes `number(column)`: what is no number there is null. A text column that stands
    for a condition, or beside `true` or `false`, becomes `truth(column)`. Another column inside of a text function is
    cast to text.

    Args:
        tree: As DuckDB gives it.
        names: Name of each column in the table, by its name in the condition.
        kinds: Kind of each column, by its name in the table.
    """
    root: Node = {"tree": copy.deepcopy(tree), "class": "ROOT"}
    nodes = list(_walk(root["tree"]))
    for node in nodes:
        if node["class"] == "COLUMN_REF":
            node["column_names"] = [names[node["column_names"][0]]]
        elif node["class"] == "FUNCTION":
            node["qualified_name"] = {"path": [_OTHER_NAMES.get(node["function_name"].lower(), node["function_name"])]}
    for node in [root, *nodes]:
        for slot, place in _conditions(node):
            _wrap_column(slot, place, kinds, "text", "truth")
        operands = _operands(node)
        name = node["function_name"].lower() if node["class"] == "FUNCTION" else ""
        if name in _TEXT_FUNCTIONS | _TEXT_OPERATORS:
            for slot, place in operands[:1] if name in _TEXT_FUNCTIONS else operands:
                _wrap_column(slot, place, kinds, "number", "words")
                _wrap_column(slot, place, kinds, "boolean", "words")
        elif name in _ARITHMETIC | _NUMBER_FUNCTIONS or any(_is_number(slot[place], kinds) for slot, place in operands):
            for slot, place in operands:
                _wrap_column(slot, place, kinds, "text", "number")
        elif any(_is_boolean(slot[place], kinds) for slot, place in operands):
            for slot, place in operands:
                _wrap_column(slot, place, kinds, "text", "truth")
    adapted: Node = root["tree"]
    return adapted


def _problem(node: Node) -> str | None:
    """What is wrong with a node, its children left aside."""
    match node["class"]:
        case "SUBQUERY":
            return "a sub-select is not allowed; a condition reads the columns of its own row"
        case "OPERATOR" if node["type"] not in _OPERATORS:
            return f"the operator {node['type'].lower()} is not allowed"
        case "FUNCTION":
            name = node["function_name"].lower()
            if node["is_operator"] and name in _OPERATOR_FUNCTIONS:
                return None
            if name == "list_value":
                return "the values of `in` stand in round brackets: x in ('a', 'b')"
            if name not in FUNCTIONS or len(node["qualified_name"]["path"]) > 1:
                shown = ", ".join(sorted(FUNCTIONS - _OTHER_NAMES.keys()))
                return f"function {node['function_name']!r} is not allowed; the functions are {shown}"
        case "COLUMN_REF" if len(node["column_names"]) > 1:
            written = ".".join(node["column_names"])
            return f'{written} is not one column; write "{written}" in double quotes if the name holds a dot'
        case "COMPARISON" if any(_is_null(node[side]) for side in ("left", "right")):
            return "a comparison with null is never true; write `x is null` or `x is not null`"
        case other if other not in _CLASSES:
            return f"{other.lower().replace('_', ' ')} is not allowed in a condition"
    return None


def _walk(node: Any, depth: int = 0) -> Iterator[Node]:
    """A node and all nodes below it; the types of casts are left out."""
    if isinstance(node, list):
        for child in node:
            yield from _walk(child, depth)
    elif isinstance(node, dict):
        if "class" in node:
            depth += 1
            if depth > _MAX_DEPTH:
                raise NotAllowedError(f"is nested deeper than {_MAX_DEPTH} levels", node["query_location"])
            yield node
        for key, child in node.items():
            if key != "type_expr":
                yield from _walk(child, depth)


def _operands(node: Node) -> list[tuple[Any, Any]]:
    """Places (container, key) of the operands that must be of one type."""
    match node:
        case {"class": "COMPARISON"}:
            return [(node, "left"), (node, "right")]
        case {"class": "BETWEEN"}:
            return [(node, "input"), (node, "lower"), (node, "upper")]
        case {"class": "OPERATOR", "type": "COMPARE_IN" | "COMPARE_NOT_IN" | "OPERATOR_COALESCE"}:
            return [(node["children"], place) for place in range(len(node["children"]))]
        case {"class": "FUNCTION"}:
            return [(argument, "expression") for argument in node["arguments"]]
    return []


def _conditions(node: Node) -> Iterator[tuple[Any, Any]]:
    """Places (container, key) of the conditions that a node joins, and of those that these join."""
    match node:
        case {"class": "ROOT"}:
            slots: list[tuple[Any, Any]] = [(node, "tree")]
        case {"class": "CONJUNCTION"} | {"class": "OPERATOR", "type": "OPERATOR_NOT"}:
            slots = [(node["children"], place) for place in range(len(node["children"]))]
        case _:
            return
    for container, key in slots:
        yield container, key
        yield from _conditions(container[key])


def _wrap_column(slot: Any, place: Any, kinds: Mapping[str, ColumnKind], kind: ColumnKind, function: str) -> None:
    """Put a function around the column at a place, where the column is of this kind."""
    node = slot[place]
    if node["class"] == "COLUMN_REF" and kinds[node["column_names"][0]] == kind:
        slot[place] = _call(function, node)


def _call(function: str, argument: Node) -> Node:
    return {
        "class": "FUNCTION",
        "type": "FUNCTION",
        "alias": "",
        "function_name": function,
        "schema": "",
        "catalog": "",
        "filter": None,
        "order_bys": {"type": "ORDER_MODIFIER", "orders": []},
        "distinct": False,
        "is_operator": False,
        "export_state": False,
        "arguments": [{"name": "", "expression": argument}],
        "qualified_name": {"path": [function]},
    }


def _is_number(node: Node, kinds: Mapping[str, ColumnKind]) -> bool:
    match node:
        case {"class": "CONSTANT"}:
            return node["literal"]["kind"] in ("INTEGER", "NUMERIC")
        case {"class": "COLUMN_REF"}:
            return kinds.get(node["column_names"][0]) == "number"
        case {"class": "FUNCTION"}:
            return node["function_name"].lower() in _ARITHMETIC | _NUMBER_FUNCTIONS | {"length"}
    return False


def _is_boolean(node: Node, kinds: Mapping[str, ColumnKind]) -> bool:
    if node["class"] == "COLUMN_REF":
        return kinds.get(node["column_names"][0]) == "boolean"
    return bool(node["class"] == "CONSTANT" and node["literal"]["kind"] == "BOOLEAN")


def _is_null(node: Node) -> bool:
    return bool(node["class"] == "CONSTANT" and node["literal"]["kind"] == "NULL_LITERAL")
