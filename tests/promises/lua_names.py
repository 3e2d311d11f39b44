"""The names in a Lua file: what it defines for others, takes from outside, never uses, and hides from itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from luaparser import ast, astnodes


@dataclass
class Names:
    """
    ``own`` are the locals of the file's outermost block, ``free`` the names that it does not define.

    ``unused`` and ``shadowing`` are locals, with the line of each: a name that begins with ``_`` may be unused.
    """

    own: set[str] = field(default_factory=set)
    free: set[str] = field(default_factory=set)
    unused: set[str] = field(default_factory=set)
    shadowing: set[str] = field(default_factory=set)


def names_of(text: str) -> Names:
    """Raises luaparser's SyntaxException for what is no Lua."""
    walk = _Walk()
    walk.block(ast.parse(text).body.body, inner=False)
    return walk.found


class _Walk:
    """A walk through a tree with the scopes that are open: each has the locals, and whether each was used."""

    def __init__(self) -> None:
        self.found = Names()
        self._scopes: list[dict[str, bool]] = []

    def block(self, *parts: object, inner: bool = True, names: tuple[astnodes.Node, ...] = ()) -> None:
        self._scopes.append({})
        for name in names:
            self._define(name)
        for part in parts:
            self.visit(part)
        scope = self._scopes.pop()
        if inner:
            self.found.unused |= {name for name, used in scope.items() if not used and not name.startswith("_")}
        else:
            self.found.own = set(scope)

    def visit(self, node: object) -> None:
        match node:
            case list():
                for one in node:
                    self.visit(one)
            case astnodes.LocalAssign():
                self.visit(node.values)
                for target in node.targets:
                    self._define(target)
            case astnodes.LocalFunction():
                self._define(node.name)
                self.block(node.body, names=tuple(node.args))
            case astnodes.Function() | astnodes.AnonymousFunction():
                self.visit(getattr(node, "name", None) if isinstance(node, astnodes.Function) else None)
                self.block(node.body, names=tuple(node.args))
            case astnodes.Forin():
                self.visit(node.iter)
                self.block(node.body, names=tuple(node.targets))
            case astnodes.Fornum():
                self.visit([node.start, node.stop, node.step])
                self.block(node.body, names=(node.target,))
            case astnodes.Repeat():
                self.block(node.body.body, node.test)
            case astnodes.Block():
                self.block(node.body)
            case astnodes.Index():
                self.visit(node.value)
                if node.notation == astnodes.IndexNotation.SQUARE:
                    self.visit(node.idx)
            case astnodes.Field():
                self.visit(node.value)
                if node.between_brackets:
                    self.visit(node.key)
            case astnodes.Name():
                self._use(node.id)
            case astnodes.Node():
                self.visit([value for key, value in vars(node).items() if not key.startswith("_")])

    def _define(self, name: astnodes.Node) -> None:
        if not isinstance(name, astnodes.Name):
            return  # the three dots
        if name.id != "_" and any(name.id in scope for scope in self._scopes):
            self.found.shadowing.add(name.id)
        self._scopes[-1][name.id] = False

    def _use(self, name: str) -> None:
        for scope in reversed(self._scopes):
            if name in scope:
                scope[name] = True
                return
        self.found.free.add(name)
