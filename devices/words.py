"""The one catalogue of what people read, in every language of the product.

Flat keys with dots, `{placeholders}` filled by name. Both catalogues hold the same keys and placeholders; a test
says so.
"""

import json
from functools import cache
from pathlib import Path
from string import Formatter

from devices.errors import Permanent

LANGUAGES = ("en", "zh-CN")
FALLBACK = "en"
WORDS_FOLDER = Path(__file__).parent / "words"


@cache
def catalogue(language: str) -> dict[str, str]:
    """Every text of a language by key. Raises Permanent for a language without a catalogue."""
    if language not in LANGUAGES:
        raise Permanent(f"no words in {language!r}: expected one of {', '.join(LANGUAGES)}")
    words: dict[str, str] = json.loads((WORDS_FOLDER / f"{language}.json").read_text("utf-8"))
    return words


def placeholders(text: str) -> frozenset[str]:
    """The names in braces."""
    return frozenset(name for _, name, _, _ in Formatter().parse(text) if name)


def best_language(accepted: str) -> str:
    """The language of ours that an `Accept-Language` header (or a plain tag) asks for first; English otherwise."""
    for wish in accepted.split(",")[:20]:
        tag = wish.split(";", 1)[0].strip().lower()
        for language in LANGUAGES:
            if tag and (tag == language.lower() or tag.split("-", 1)[0] == language.split("-", 1)[0].lower()):
                return language
    return FALLBACK


def say(language: str, key: str, **parameters: object) -> str:
    """The text of `key` in a language, with its placeholders filled.

    Raises Permanent when the key is unknown or a placeholder has no parameter: a missing word is a fault of the
    program, not of the reader.
    """
    text = catalogue(language).get(key)
    if text is None:
        raise Permanent(f"no words for {key!r} in {language}")
    try:
        return text.format_map(parameters)
    except KeyError as error:
        raise Permanent(f"the words for {key!r} need the parameter {error}") from error
