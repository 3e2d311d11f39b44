"""
The binary encoding of messages. Its schema is built from all messages at the first binary request.

Needs the extra ``runfleet[ona]`` (protobuf), which only that request imports.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, Final, TypeVar

import msgspec

from api.dialects.ona.codec import Field, fields_of, from_plain
from api.dialects.ona.wire import Message
from api.http.problems import WrongMediaType
from shared.errors import Invalid, Malformed, Problem

M = TypeVar("M", bound=Message)

PACKAGE: Final = "runfleet.ona"
_TIMESTAMP: Final = ".google.protobuf.Timestamp"


def from_binary(kind: type[M], body: bytes) -> M:
    """
    A request in the binary encoding.

    Raises Malformed, Invalid with all its problems, and WrongMediaType when protobuf is not installed.
    """
    message = _class_of(kind)()
    from google.protobuf.json_format import MessageToDict
    from google.protobuf.message import DecodeError

    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise Malformed(f"the body is not a binary {kind.__name__}: {error}") from None
    problems = list(_unknown(message, kind, "body"))
    if problems:
        raise Invalid(problems)
    return from_plain(kind, MessageToDict(message))


def to_binary(message: Message) -> bytes:
    """A response in the binary encoding."""
    built = _class_of(type(message))()
    from google.protobuf.json_format import ParseDict

    packed: bytes = ParseDict(msgspec.to_builtins(message), built).SerializeToString()
    return packed


@cache
def _class_of(kind: type[msgspec.Struct]) -> Any:
    pool = _pool()
    from google.protobuf.message_factory import GetMessageClass

    return GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{kind.__name__}"))


@cache
def _pool() -> Any:
    try:
        from google.protobuf import timestamp_pb2
        from google.protobuf.descriptor_pb2 import FileDescriptorProto
        from google.protobuf.descriptor_pool import DescriptorPool
    except ImportError:
        raise WrongMediaType(
            "application/proto needs protobuf, which is not installed here: pip install 'runfleet[ona]', or send JSON"
        ) from None
    file = FileDescriptorProto(name="runfleet/ona.proto", package=PACKAGE, syntax="proto3")
    file.dependency.append(timestamp_pb2.DESCRIPTOR.name)
    kinds = _all_kinds()
    for enum in dict.fromkeys(field.kind for kind in kinds for field in fields_of(kind)):
        if issubclass(enum, StrEnum):
            described = file.enum_type.add(name=enum.__name__)
            for number, member in enumerate(enum):
                described.value.add(name=member.value, number=number)
    for kind in kinds:
        _describe(kind, file.message_type.add(name=kind.__name__))
    pool = DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _all_kinds() -> list[type[msgspec.Struct]]:
    """Every message, and the structs in them that are not messages, whose fields are ignored."""
    found: dict[str, type[msgspec.Struct]] = {}
    for message in Message.__subclasses__():
        found[message.__name__] = message
        for field in fields_of(message):
            if issubclass(field.kind, msgspec.Struct):
                found[field.kind.__name__] = field.kind
    return list(found.values())


def _describe(kind: type[msgspec.Struct], message: Any) -> None:
    fields = fields_of(kind)
    groups = list(dict.fromkeys(field.oneof for field in fields if field.oneof))
    for group in groups:
        message.oneof_decl.add(name=group)
    for field in fields:
        described = message.field.add(name=field.snake, number=field.number, label=3 if field.many else 1)
        if field.many == "map":
            name = "".join(word.capitalize() for word in field.snake.split("_")) + "Entry"
            entry = message.nested_type.add(name=name)
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, label=1, type=9)
            _set_type(field, entry.field.add(name="value", number=2, label=1))
            described.type, described.type_name = 11, f".{PACKAGE}.{kind.__name__}.{name}"
            continue
        _set_type(field, described)
        if field.oneof:
            described.oneof_index = groups.index(field.oneof)
    # Proto3 distinguishes "not given" from empty by a synthetic oneof for each such field; these come last.
    for field, described in zip(fields, message.field, strict=True):
        if field.optional and not field.oneof and described.type != 11:
            described.proto3_optional = True
            described.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{field.snake}")


def _set_type(field: Field, described: Any) -> None:
    if field.kind is datetime:
        described.type, described.type_name = 11, _TIMESTAMP
    elif issubclass(field.kind, StrEnum):
        described.type, described.type_name = 14, f".{PACKAGE}.{field.kind.__name__}"
    elif issubclass(field.kind, msgspec.Struct):
        described.type, described.type_name = 11, f".{PACKAGE}.{field.kind.__name__}"
    else:
        described.type = _NUMBER_OF_TYPE[field.proto or field.kind.__name__]


_NUMBER_OF_TYPE: Final = {"uint64": 4, "int": 5, "bool": 8, "str": 9}
"""As ``FieldDescriptorProto.Type`` has them; 11 is a message, 14 an enum."""


def _unknown(message: Any, kind: type[msgspec.Struct], where: str) -> Iterable[Problem]:
    """Field numbers that *kind* does not have, at any depth."""
    from google.protobuf.unknown_fields import UnknownFieldSet

    if not issubclass(kind, Message):
        return
    for unknown in UnknownFieldSet(message):
        yield Problem(where, f"has field {unknown.field_number}, which {kind.__name__} does not have here")
    for field in fields_of(kind):
        if not issubclass(field.kind, Message):
            continue
        at = f"{where}.{field.name}"
        if field.many == "list":
            for index, each in enumerate(getattr(message, field.snake)):
                yield from _unknown(each, field.kind, f"{at}[{index}]")
        elif field.many == "map":
            for key, each in getattr(message, field.snake).items():
                yield from _unknown(each, field.kind, f"{at}.{key}")
        elif message.HasField(field.snake):
            yield from _unknown(getattr(message, field.snake), field.kind, at)
