"""Which scripts and functions write and read which keys, by what their code says."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Final, NamedTuple

from shared.store.redis.scripts import script, script_names

ROOT: Final = Path(__file__).parents[2]
PYTHON: Final = ("shared/store/**/*.py", "shared/queue.py", "scheduler/*.py", "worker/*.py")
READING: Final = re.compile(
    "BLPOP|EXISTS|GET|HEXISTS|HGET|HGETALL|HKEYS|HLEN|HMGET|HRANDFIELD|HSCAN|HSTRLEN|HVALS|LLEN|LRANGE|MGET|SCARD"
    "|SISMEMBER|SMEMBERS|SMISMEMBER|SRANDMEMBER|SSCAN|TYPE|X(REV)?RANGE|XLEN|Z(REV)?RANGE(BYSCORE)?|ZCARD|ZCOUNT"
    "|ZMSCORE|ZSCAN|ZSCORE"
)
"""Commands that change nothing."""

NAMED_BY_CALLERS: Final = {"page": "ix:*"}
"""Scripts that get the names of keys as arguments."""


class Use(NamedTuple):
    """A command on a key; each part of the key that is computed is a star."""

    command: str
    key: str


def uses() -> dict[str, set[Use]]:
    """Script, or function of Python as ``module.name`` → what it does to which keys."""
    found: dict[str, set[Use]] = defaultdict(set)
    for name in script_names():
        for command, key in _Lua(script(name).text.decode()).uses():
            found[name].add(Use(command, NAMED_BY_CALLERS.get(name, "*") if key == "*" else key))
    for package in PYTHON:
        for path in sorted(ROOT.glob(package)):
            for function, use in _Python(ast.parse(path.read_text("utf-8"))).uses():
                found[f"`{path.stem}.{function}`"].add(use)
    return found


class _Python:
    """A module's functions and methods."""

    def __init__(self, module: ast.Module) -> None:
        self.module = module
        self.functions = {
            node.name: node
            for part in module.body
            for node in (part, *ast.iter_child_nodes(part))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }

    def uses(self) -> Iterator[tuple[str, Use]]:
        """Each function with what it does to the keys that it names."""
        for name, function in self.functions.items():
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "Call" and len(node.args) > 1:
                    command = node.args[0].value if isinstance(node.args[0], ast.Constant) else "GET"
                    for argument in self._elements(node.args[1], function):
                        yield from ((name, Use(str(command), key)) for key in self._keys(argument, function))

    def _elements(self, node: ast.AST, function: ast.AST) -> Sequence[ast.AST]:
        """The arguments of a call, wherever their tuple is made."""
        if isinstance(node, ast.Name):
            node = next((value for value in _assigned(node.id, function)), node)
        return node.elts if isinstance(node, ast.Tuple) else list(ast.walk(node))

    def _keys(self, node: ast.AST, function: ast.AST) -> list[str]:
        """The keys that an argument may be; none when it is no key."""
        if isinstance(node, ast.IfExp):
            return self._keys(node.body, function) + self._keys(node.orelse, function)
        if isinstance(node, ast.Name):
            return [key for value in _assigned(node.id, function) for key in self._keys(value, function)]
        if not isinstance(node, ast.Call):
            return []
        called = ast.unparse(node.func)
        if called in ("Key", "RawKey"):
            return self._texts(node.args[0], function)
        returned = ast.walk(self.functions[called]) if called in self.functions else ()
        return [
            key
            for part in returned
            if isinstance(part, ast.Return) and part.value is not None
            for key in self._keys(part.value, self.functions[called])
        ]

    def _texts(self, node: ast.AST, function: ast.AST) -> list[str]:
        """What an expression may be, with a star for what is computed."""
        match node:
            case ast.Constant():
                return [node.value.decode() if isinstance(node.value, bytes) else str(node.value)]
            case ast.JoinedStr():
                parts = (self._texts(part, function)[0] for part in node.values)
                return ["".join(parts)]
            case ast.BinOp():
                ends = self._texts(node.right, function)
                return [start + end for start in self._texts(node.left, function) for end in ends]
            case ast.IfExp():
                return self._texts(node.body, function) + self._texts(node.orelse, function)
            case ast.Name():
                values = [*_assigned(node.id, function), *self._passed(node.id, function)]
                return [text for value in values for text in self._texts(value, self.module)] or ["*"]
        return ["*"]

    def _passed(self, name: str, function: ast.AST) -> Iterator[ast.AST]:
        """What callers in the module give for a parameter."""
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [one.arg for one in function.args.args if one.arg != "self"]
            for node in ast.walk(self.module) if name in names else ():
                if isinstance(node, ast.Call) and ast.unparse(node.func).removeprefix("self.") == function.name:
                    yield from node.args[names.index(name) :][:1]


def _assigned(name: str, function: ast.AST) -> Iterator[ast.AST]:
    """What a local name stands for: what is assigned to it, or the elements that a comprehension goes through."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            yield node.value
        elif isinstance(node, ast.comprehension) and ast.unparse(node.target) == name:
            yield from node.iter.elts if isinstance(node.iter, ast.Tuple) else ()


_TOKEN: Final = re.compile(r"'(?:\\.|[^'\\])*'|[A-Za-z_]\w*(?:[.:]\w+)*|\d[\w.]*|\.\.\.?|[<>=~]=|\n|[^\s\w]")
_DEPTH: Final = {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}
_FUNCTION: Final = re.compile(r"local function (\w+)\(([^)]*)\)")


class _Function(NamedTuple):
    parameters: list[str]
    tokens: list[str]
    place: int


class _Lua:
    """A script's text, taken apart into its functions and what is outside of them."""

    def __init__(self, text: str) -> None:
        self.functions: dict[str, list[_Function]] = defaultdict(list)
        self.seen: set[object] = set()
        lines = [line.partition("   -- ")[0] for line in text.splitlines()[1:]]
        outside: list[str] = []
        at = 0
        while at < len(lines):
            found = _FUNCTION.match(lines[at])
            if found is None:
                outside.append(lines[at])
                at += 1
                continue
            is_short = re.search(r"\bend\s*$", lines[at])
            end = at if is_short else next(n for n in range(at, len(lines)) if lines[n] == "end")
            body = "\n".join([lines[at][found.end() :], *lines[at + 1 : end + 1]])
            parameters = [word.strip() for word in found[2].split(",")]
            self.functions[found[1]].append(_Function(parameters, _TOKEN.findall(body), at))
            at = end + 1
        self.main = _Function([], _TOKEN.findall("\n".join(outside)), len(lines))
        self.known = _bound(self.main.tokens, {"P": [""]})

    def uses(self) -> Iterator[Use]:
        """What the script does, each thing at least once."""
        return self._walk(self.main, {})

    def _walk(self, function: _Function, given: Mapping[str, list[str]]) -> Iterator[Use]:
        """The same of one function, whose parameters are the keys *given*."""
        state = (function.place, str(sorted(given.items())))
        if state in self.seen:
            return
        self.seen.add(state)
        own = {*function.parameters, *(name for names, _ in _assignments(function.tokens) for name in names)}
        outer = {name: keys for name, keys in self.known.items() if name not in own or name == "P"}
        known = _bound(function.tokens, {**outer, **given})
        for n, token in enumerate(function.tokens[:-2]):
            if function.tokens[n + 1] != "(":
                continue
            first, *rest = _arguments(function.tokens, n + 1)
            if token in ("redis.call", "redis.pcall", "look"):
                words = [word.strip("'") for word in first if word[0] == "'"]
                for argument in rest if words == ["DEL"] else rest[:1]:
                    yield from (Use(word, key) for key in _keys(argument, known) for word in words)
            elif token == "pcall" or token in self.functions:
                name, values = (first[0], rest) if token == "pcall" else (token, [first, *rest])
                # What a name means there: the last function of that name before it, or the caller itself.
                callee = next((f for f in reversed(self.functions[name]) if f.place <= function.place), None)
                if callee is not None:
                    given_now = _values(zip(callee.parameters, values, strict=False), known)
                    yield from self._walk(callee, given_now)


def _bound(tokens: Sequence[str], known: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """What is *known*, and the keys that local variables stand for, wherever they are assigned."""
    found = dict(known)
    for names, values in _assignments(tokens):
        for name, keys in _values(zip(names, values, strict=False), found).items():
            found[name] = [*found.get(name, []), *keys]
    return found


def _values(pairs: Iterable[tuple[str, list[str]]], known: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Names with the keys that their expressions may be; under ``'name`` those that are parts of keys."""
    found: dict[str, list[str]] = {}
    for name, expression in pairs:
        if keys := _keys(expression, known):
            found[name.partition("[")[0]] = keys
        elif name.isidentifier() and expression and all(token[0] == "'" or token in "{,}" for token in expression):
            found[f"'{name}"] = [token.strip("'") for token in expression if token[0] == "'"]
    return found


def _assignments(tokens: Sequence[str]) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Names and the expressions that they get, also the elements of a list that ``for`` goes through."""
    line: list[str] = []
    depth = 0
    for token in [*tokens, "\n"]:
        depth += _DEPTH.get(token, 0)
        if token != "\n":
            line.append(token)
            continue
        if depth > 0:
            continue
        if line[:1] == ["for"] and "ipairs" in line:
            yield [line[line.index("in") - 1]], _arguments(line, line.index("ipairs") + 1)
        elif "=" in line:
            at = line.index("=")
            names = ["".join(words) for words in _split([word for word in line[:at] if word != "local"])]
            yield names, _split(line[at + 1 :])
        line = []


def _arguments(tokens: Sequence[str], at: int) -> list[list[str]]:
    """What stands between the parenthesis at that place and its partner, by commas."""
    depth, end = 0, at
    while True:
        depth += _DEPTH.get(tokens[end], 0)
        if depth == 0:
            return _split([token for token in tokens[at + 1 : end] if token != "\n"])
        end += 1


def _split(tokens: Sequence[str], by: tuple[str, ...] = (",",)) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    depth = 0
    for token in tokens:
        depth += _DEPTH.get(token, 0)
        if depth == 0 and token in by:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _keys(expression: Sequence[str], known: Mapping[str, list[str]]) -> list[str]:
    """The keys that an expression may be: several where one is chosen, or of a list; none when it is no key."""
    if expression[:1] == ["{"]:
        return [key for element in _split(expression[1:-1]) for key in _keys(element, known)]
    found: list[str] = []
    for choice in _split(expression, ("and", "or")):
        first, *rest = _split(choice, ("..",))
        starts = known.get(first[0], []) if first and (len(first) == 1 or first[1] == "[") else []
        parts = [[part[0].strip("'")] if part[0][0] == "'" else known.get(f"'{''.join(part)}", ["*"]) for part in rest]
        for start in [""] if first == ["KEYS", "[", "1", "]"] else starts:
            found += [(start + "".join(chosen)).removeprefix(":") for chosen in product(*parts)]
    return found
