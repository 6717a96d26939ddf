"""What the agencies of the demonstration publish: places, people and pictures that do not exist. Pure."""

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, cycle

AGENCIES = {"paper-kite": 5, "tin-trumpet": 3, "low-lighthouse": 8}
"""The priority of each."""

EXCLUSIVE_EVERY, PICTURE_EVERY, FLEETING_EVERY = 5, 7, 9
LIFE_S, FLEETING_LIFE_S = 3600.0, 60.0
WIDTH, HEIGHT = 320, 180

HEADLINES = (
    ("chronicle", "Ferry to Lower Thistle runs again", "The ferry crosses every hour from seven. Bicycles go free."),
    ("sport", "Gulls beat Herons by a feather", "Three to two in Port Amber, with a goal in the last minute."),
    ("finance", "Button market opens higher", "Brass buttons gain two parts in a hundred; wooden ones do not move."),
    ("politics", "Council of Eastmere votes for a second clock", "The first one stays, for those who like it slow."),
    ("gossip", "Mayor's cat moves into the library", "It is said to prefer the shelf of travels, near the window."),
    ("foreign", "Outer Dunland paints its lighthouse blue", "Ships were told. The sea is said to be flattered."),
    ("chronicle", "Apple fair in Upper Pennywhistle", "Forty kinds, and a prize for the one that nobody can name."),
    ("sport", "Rowing: fog wins the morning race", "All six boats arrived, in an order that nobody saw."),
    ("politics", "Bridge over the Lesser Quill agreed on", "It will have two ends, after a long debate about one."),
    ("foreign", "Kingdom of Marl sends a choir", "Sixty voices sing in the harbour on the day after tomorrow."),
    ("finance", "Umbrella makers expect a good autumn", "Stocks are low, clouds are not. Prices stay as they are."),
    ("gossip", "Who leaves pies at the observatory?", "The ninth one was of pears. The astronomers have no theory."),
    ("chronicle", "Night train stops at Quiet Halt again", "Only on Thursdays, and only if somebody waves."),
    ("sport", "Chess in the park: a draw by thunder", "Both players kept their hats on and shook hands."),
    ("politics", "Eastmere may lend its fountain", "Lower Thistle has asked for it for the summer, with the ducks."),
    ("foreign", "Two islands of Farrow find a third", "It was there all the time, behind the second."),
    ("finance", "Toll of the Quill road falls", "From two pebbles to one; carts with hay pay nothing."),
    ("gossip", "The conductor's left glove is found", "It was in the tuba. The concert is to be repeated."),
)


@dataclass(frozen=True)
class Invented:
    """An item that is to be published.

    Attributes:
        source: one of `AGENCIES`.
        topic: one of the default ones.
        title: a line.
        body: its content.
        media_type: of that.
        exclusive: whether it is for those who have paid for exclusives.
        life_s: seconds until it expires.
    """

    source: str
    topic: str
    title: str
    body: bytes
    media_type: str = "text/plain"
    exclusive: bool = False
    life_s: float = LIFE_S


def inventions() -> Iterator[Invented]:
    """Invent items, without an end: some are exclusive, some are pictures, some expire soon."""
    for number, source, (topic, title, text) in zip(count(1), cycle(AGENCIES), cycle(HEADLINES), strict=False):
        if number % PICTURE_EVERY == 0:
            hour = number // PICTURE_EVERY
            yield Invented(source, "chronicle", "The harbour of Port Amber just now", picture(hour), "image/png")
        elif number % EXCLUSIVE_EVERY == 0:
            yield Invented(source, topic, f"Only here: {title}", text.encode(), exclusive=True)
        elif number % FLEETING_EVERY == 0:
            yield Invented(source, topic, f"For a minute: {title}", text.encode(), life_s=FLEETING_LIFE_S)
        else:
            yield Invented(source, topic, title, text.encode())


SKIES = (
    ((246, 201, 137), (241, 124, 88), (255, 244, 214)),
    ((96, 108, 168), (238, 150, 122), (255, 222, 173)),
    ((24, 32, 74), (72, 86, 150), (236, 240, 255)),
    ((120, 178, 220), (214, 232, 240), (255, 250, 225)),
)
"""Of each hour: above, at the horizon, and what shines there."""
HORIZON = 112
SHINES_AT, SHINE_RADIUS = (214, 84), 17


def picture(hour: int) -> bytes:
    """Return a PNG of the harbour at an hour: the sky, hills, and what shines on the water."""
    sky = SKIES[hour % len(SKIES)]
    rows = (b"\x00" + b"".join(_colour(x, y, *sky) for x in range(WIDTH)) for y in range(HEIGHT))
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(rows), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


Colour = tuple[int, int, int]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _colour(x: int, y: int, above: Colour, below: Colour, light: Colour) -> bytes:
    if y >= HORIZON:
        # The water has what is over it, darker, and a path of light that the waves cut.
        mirrored = _colour_of_sky(2 * HORIZON - y, above, below)
        wave = math.sin(y * 1.7 + 3 * math.sin(x * 0.05 + y * 0.4))
        shines = abs(x - SHINES_AT[0]) < 8 + (y - HORIZON) * 0.5 and wave > 0.3
        return bytes(_between(mirrored, light, 0.6) if shines else _between(mirrored, (16, 28, 48), 0.35))
    hill = HORIZON - 14 - 9 * math.sin(x * 0.021 + 1) - 5 * math.sin(x * 0.063)
    if y > hill + 0.00045 * (x - 60) ** 2:
        return bytes(_between(above, (18, 22, 40), 0.7))
    if math.hypot(x - SHINES_AT[0], y - SHINES_AT[1]) < SHINE_RADIUS:
        return bytes(light)
    return bytes(_colour_of_sky(y, above, below))


def _colour_of_sky(y: int, above: Colour, below: Colour) -> Colour:
    return _between(above, below, min(1.0, max(0.0, y / HORIZON)))


def _between(one: Colour, other: Colour, part: float) -> Colour:
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(one, other, strict=True))
    return red, green, blue
