"""What a broker sent and nobody has handled yet: bounded, in order, and never short of a state.

When it is full, the oldest message that is no state goes, counted. Where only states are left, the reader is told to
stop reading from the socket: then the broker waits, and the network holds it back.
"""

from collections import OrderedDict, deque
from collections.abc import Callable

import aiomqtt

from devices.messages.payload import PAYLOAD_BYTES_MAX

INBOX_MESSAGES_MAX = 10_000
INBOX_BYTES_MAX = 64 << 20
ROOM_SHARE = 2  # reading goes on when less than this part (1/n) is taken


class Inbox:
    """First in, first out. `is_state` tells by topic whose messages may not be lost.

    `on_full` is called when reading must stop, `on_room` when it may go on.
    """

    def __init__(
        self,
        is_state: Callable[[str], bool],
        *,
        messages_max: int = INBOX_MESSAGES_MAX,
        on_full: Callable[[], None] = lambda: None,
        on_room: Callable[[], None] = lambda: None,
    ) -> None:
        self._is_state = is_state
        self._messages_max = messages_max
        self._on_full = on_full
        self._on_room = on_room
        self._messages: OrderedDict[int, aiomqtt.Message] = OrderedDict()
        self._droppable: deque[int] = deque()  # numbers of messages that are no states
        self._number = 0
        self._bytes = 0
        self._stopped = False
        self._dropped: list[aiomqtt.Message] = []
        self.overflowed = 0
        self.oversized = 0
        self.unreadable = 0  # topics that are no text
        self.on_arrival: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def is_full(self) -> bool:
        """Whether reading was told to stop and not yet to go on."""
        return self._stopped

    def begin_connection(self) -> None:
        """What is still here came over an earlier connection: nobody can confirm it over the next one."""
        self._stopped = False
        self._dropped = []
        for message in self._messages.values():
            message.qos = 0

    def put_nowait(self, message: aiomqtt.Message) -> None:
        """Take a message in. Never fails; what goes instead is counted and given back by `take_dropped`."""
        if len(message.payload) > PAYLOAD_BYTES_MAX:  # no decoder would read it
            self.oversized += 1
            self._dropped.append(message)
            return
        self._number += 1
        self._messages[self._number] = message
        self._bytes += len(message.payload)
        if not self._is_state(str(message.topic)):
            self._droppable.append(self._number)
        while self._full and self._droppable:
            self._drop(self._droppable.popleft())
        if self._full and not self._stopped:
            self._stopped = True
            self._on_full()
        self.on_arrival()

    def take(self, count: int) -> list[aiomqtt.Message]:
        """The oldest messages, at most `count`."""
        taken = [self._take_oldest() for _ in range(min(count, len(self._messages)))]
        if self._stopped and len(self) * ROOM_SHARE < self._messages_max and self._bytes * ROOM_SHARE < INBOX_BYTES_MAX:
            self._stopped = False
            self._on_room()
        return taken

    def take_dropped(self) -> list[aiomqtt.Message]:
        """What was dropped since the last call; nobody else will confirm it."""
        dropped, self._dropped = self._dropped, []
        return dropped

    @property
    def _full(self) -> bool:
        return len(self._messages) > self._messages_max or self._bytes > INBOX_BYTES_MAX

    def _take_oldest(self) -> aiomqtt.Message:
        number, message = self._messages.popitem(last=False)
        self._bytes -= len(message.payload)
        if self._droppable and self._droppable[0] == number:
            self._droppable.popleft()
        return message

    def _drop(self, number: int) -> None:
        message = self._messages.pop(number)
        self._bytes -= len(message.payload)
        self._dropped.append(message)
        self.overflowed += 1
