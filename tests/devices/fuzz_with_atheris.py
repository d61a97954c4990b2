"""Coverage-guided fuzzing of the message decoders, where atheris installs.

    pip install atheris
    python -m tests.devices.fuzz_with_atheris -max_total_time=60

Good messages are spoilt as the fuzzer says. Ends with the input that broke a decoder, or with none.
`tests/devices/test_fuzz.py` is the part that always runs.
"""

import importlib
import json
import sys
from contextlib import suppress
from typing import Any

from devices.errors import MessageError

TOPICS = ("a/state", "a/connection", "a/visualization", "a/event/up")
NOW_MS = 1_777_622_400_000


def spoilt(choices: Any, messages: list[Any]) -> bytes:
    """One of the messages with up to four values exchanged; `choices` is atheris's FuzzedDataProvider."""
    message = json.loads(json.dumps(messages[choices.ConsumeIntInRange(0, len(messages) - 1)]))
    for _ in range(choices.ConsumeIntInRange(0, 4)):
        place = message
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = keys[choices.ConsumeIntInRange(0, len(keys) - 1)]
            if isinstance(place[key], dict | list) and choices.ConsumeBool():
                place = place[key]
                continue
            wrong: tuple[Any, ...] = (
                None,
                choices.ConsumeInt(9),
                choices.ConsumeFloat(),
                choices.ConsumeUnicode(20),
                [],
                {},
                True,
            )
            place[key] = wrong[choices.ConsumeIntInRange(0, len(wrong) - 1)]
            break
    return json.dumps(message).encode(errors="surrogatepass")


def main() -> None:
    """Fuzz until libFuzzer's options say that it is enough."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["devices"]):
        decode = importlib.import_module("devices.messages.decode")
        profiles = importlib.import_module("devices.profile").load_profiles()
    messages = importlib.import_module("tests.devices.test_fuzz").GOOD
    pushing = [profile for profile in profiles.values() if profile.pushes]

    def decode_all(data: bytes) -> None:
        payload = spoilt(atheris.FuzzedDataProvider(data), messages)
        for profile in pushing:
            decoder = decode.MessageDecoder(profile)
            for topic in TOPICS:
                with suppress(MessageError):
                    decoder.decode(topic, payload, NOW_MS)

    atheris.Setup(sys.argv, decode_all)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
