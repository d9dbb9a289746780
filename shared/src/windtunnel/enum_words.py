"""Words of closed sets, such as `host`, and the enum values that carry them in messages, such as PLATFORM_HOST.

Messages hold both for a while: a text field that is deprecated, and the enum that replaces it. Writers fill both.
Readers take the enum, and the text if an older writer gives that alone.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.descriptor import EnumDescriptor

from windtunnel.errors import InvalidInput
from windtunnel.v1 import events_pb2, farm_dispatcher_pb2, metrics_store_pb2, types_pb2

UNSPECIFIED: Final = 0


class EnumWords:
    """The words of one enum: the names of its values in lower case, without the prefix that they share."""

    def __init__(self, descriptor: EnumDescriptor) -> None:
        """The words of an enum.

        Args:
            descriptor: the enum; its value 0 ends in UNSPECIFIED.
        """
        prefix = descriptor.values_by_number[UNSPECIFIED].name.removesuffix("UNSPECIFIED")
        words = {value.number: value.name.removeprefix(prefix).lower() for value in descriptor.values}
        self._words = {number: word for number, word in words.items() if number != UNSPECIFIED}
        self._numbers = {word: number for number, word in self._words.items()}

    @property
    def words(self) -> tuple[str, ...]:
        """All words, in the order of the contract."""
        return tuple(self._numbers)

    def number(self, word: str) -> Any:
        """The enum value of a word, for the field of a message.

        Args:
            word: for example "host"; it may be empty.

        Returns:
            The value; UNSPECIFIED for a word that the enum does not have.
        """
        return self._numbers.get(word, UNSPECIFIED)

    def numbers(self, words: tuple[str, ...]) -> list[Any]:
        """The enum values of several words.

        Args:
            words: for example ("host", "android").

        Returns:
            The values; empty if the enum lacks one, because a part would mean something else.
        """
        return [self._numbers[word] for word in words] if all(word in self._numbers for word in words) else []

    def read(self, number: int, text: str) -> str:
        """The word that a message holds.

        Args:
            number: the enum field; one that a newer writer knows and this version does not counts as not given.
            text: the deprecated text field.

        Returns:
            The word of the enum, or the text if the enum gives none; empty if the message gives neither.
        """
        return self._words.get(number, text)

    def read_all(self, numbers: Any, texts: Any) -> tuple[str, ...]:
        """The words that two repeated fields hold.

        Args:
            numbers: the enum field.
            texts: the deprecated text field.

        Returns:
            The words of the enum values if all are known, otherwise the texts.
        """
        known = [self._words[number] for number in numbers if number in self._words]
        return tuple(known) if known and len(known) == len(numbers) else tuple(texts)

    def required(self, number: int, text: str, field: str) -> str:
        """The word that a request holds; see `read`.

        Args:
            number: the enum field.
            text: the deprecated text field.
            field: its name, for messages.

        Returns:
            The word; empty if the request gives neither.

        Raises:
            InvalidInput: an enum value or a text that is not known.
        """
        word = self.read(number, text)
        if number != UNSPECIFIED and number not in self._words and not text:
            word = str(number)
        if word and word not in self._numbers:
            raise InvalidInput(f"{field} is {word!r}", hint=f"one of {', '.join(self._numbers)}")
        return word


APP_KIND: Final = EnumWords(types_pb2.AppKind.DESCRIPTOR)
PLATFORM: Final = EnumWords(types_pb2.Platform.DESCRIPTOR)
ARTIFACT_KIND: Final = EnumWords(types_pb2.ArtifactKind.DESCRIPTOR)
RUN_STATE: Final = EnumWords(metrics_store_pb2.RunState.DESCRIPTOR)
EXECUTION_KIND: Final = EnumWords(metrics_store_pb2.ExecutionKind.DESCRIPTOR)
RUN_AS: Final = EnumWords(types_pb2.RunAs.DESCRIPTOR)
FAILURE_KIND: Final = EnumWords(types_pb2.FailureKind.DESCRIPTOR)
DEVICE_KIND: Final = EnumWords(farm_dispatcher_pb2.Device.Kind.DESCRIPTOR)
APP_VERDICT: Final = EnumWords(events_pb2.DeviceRunDiagnosed.AppVerdict.DESCRIPTOR)
STAGE: Final = EnumWords(events_pb2.DeviceRunProgressed.Stage.DESCRIPTOR)
