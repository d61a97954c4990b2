"""The demo site: what stands where. One floor, rows of parking spaces, equipment, patrol robots.

Lengths are metres in the floor's frame: origin lower left, x to the right, y upwards.
"""

from dataclasses import dataclass
from enum import StrEnum

FLOOR_WIDTH_M = 96.0
FLOOR_HEIGHT_M = 60.0
MAP_ID = "B1"

_AISLES = 4
_SPACES_PER_ROW = 36
_FIRST_SPACE_X_M = 4.8
_SPACE_PITCH_M = 2.4
_SPACE_WIDTH_M = 2.2
_SPACE_DEPTH_M = 4.0
_AISLE_WIDTH_M = 5.0
_ROW_GAP_M = 0.6  # between two rows that stand back to back
_TOP_MARGIN_M = 3.1
_MODULE_M = 2 * _SPACE_DEPTH_M + _AISLE_WIDTH_M + _ROW_GAP_M

AISLE_CENTRES_M = tuple(
    FLOOR_HEIGHT_M - _TOP_MARGIN_M - _SPACE_DEPTH_M - _AISLE_WIDTH_M / 2 - aisle * _MODULE_M for aisle in range(_AISLES)
)
CROSS_LEFT_X_M = 2.4
CROSS_RIGHT_X_M = FLOOR_WIDTH_M - 2.4


class Kind(StrEnum):
    """What a device is, as far as its behaviour goes."""

    METER = "meter"
    DRIVE = "drive"
    LIFT = "lift"
    PANEL = "panel"


class Schedule(StrEnum):
    """When an equipment runs."""

    ALWAYS = "always"
    DAY = "day"  # opening hours
    DUTY = "duty"  # takes turns with the standby unit, every six hours
    STANDBY = "standby"
    CYCLE = "cycle"  # short runs on demand
    WEEKLY_TEST = "weekly-test"  # ready; runs ten minutes every Monday


@dataclass(frozen=True, slots=True)
class Name:
    """A name in the languages of the pages."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Equipment:
    """One piece of equipment and its one device of the same id. `rating_kw` is what it draws at full load."""

    id: str
    name: Name
    code: str
    kind: Kind
    profile: str
    category: str
    criticality: str
    x_m: float
    y_m: float
    connection: str
    unit: int
    schedule: Schedule = Schedule.ALWAYS
    rating_kw: float = 0.0


@dataclass(frozen=True, slots=True)
class Space:
    """One parking space; `device` is "" where no sensor was mounted. `state` is "", "closed" or "reserved"."""

    id: str
    device: str
    dev_eui: str
    x_m: float
    y_m: float
    width_m: float
    height_m: float
    state: str = ""


@dataclass(frozen=True, slots=True)
class Robot:
    """One patrol robot; `aisle` counts from 0 at the top, its dock is at the left end of that aisle."""

    id: str
    name: str
    manufacturer: str
    serial: str
    aisle: int
    dock_x_m: float
    dock_y_m: float

    @property
    def topic(self) -> str:
        """`interface/version/manufacturer/serial` of VDA 5050 2.x."""
        return f"uagv/v2/{self.manufacturer}/{self.serial}"


@dataclass(frozen=True, slots=True)
class Site:
    """Everything that stands on one site."""

    id: str
    name: Name
    zone: str
    gateway: str
    application: str  # of ChirpStack
    equipment: tuple[Equipment, ...]
    spaces: tuple[Space, ...]
    robots: tuple[Robot, ...]

    @property
    def connections(self) -> tuple[str, ...]:
        """Ids of the Modbus TCP servers, in the order of their first equipment."""
        return tuple(dict.fromkeys(one.connection for one in self.equipment))

    @property
    def sensed_spaces(self) -> tuple[Space, ...]:
        """The spaces that have a sensor."""
        return tuple(space for space in self.spaces if space.device)


SCRIPTED_FAULT = "pump-3"  # breaks in the demo when somebody is looking, never by chance

_METERS = (
    ("mains", "Mains meter", "总进线电表", "A", 420.0, Schedule.DAY),
    ("lighting", "Lighting meter", "照明电表", "C", 60.0, Schedule.DAY),
    ("hvac", "HVAC meter", "暖通电表", "C", 160.0, Schedule.DAY),
    ("pumps", "Pump room meter", "水泵房电表", "C", 45.0, Schedule.ALWAYS),
    ("lifts", "Lift meter", "电梯电表", "C", 55.0, Schedule.DAY),
    ("ev-1", "EV charging meter 1", "充电桩电表 1", "C", 90.0, Schedule.DAY),
    ("ev-2", "EV charging meter 2", "充电桩电表 2", "C", 90.0, Schedule.DAY),
    ("tenant-1", "Tenant meter 1", "租户电表 1", "C", 70.0, Schedule.DAY),
    ("tenant-2", "Tenant meter 2", "租户电表 2", "C", 50.0, Schedule.DAY),
    ("data", "Server room meter", "机房电表", "B", 22.0, Schedule.ALWAYS),
)
_DRIVES = (
    ("ahu-1", "Air handling unit 1", "空调机组 1", "air-handler", "B", 15.0, Schedule.DAY),
    ("ahu-2", "Air handling unit 2", "空调机组 2", "air-handler", "B", 15.0, Schedule.DAY),
    ("ahu-3", "Air handling unit 3", "空调机组 3", "air-handler", "B", 11.0, Schedule.DAY),
    ("ahu-4", "Air handling unit 4", "空调机组 4", "air-handler", "B", 11.0, Schedule.DAY),
    ("fan-1", "Exhaust fan 1", "排风机 1", "fan", "C", 7.5, Schedule.DAY),
    ("fan-2", "Exhaust fan 2", "排风机 2", "fan", "C", 7.5, Schedule.DAY),
    ("fan-3", "Exhaust fan 3", "排风机 3", "fan", "C", 7.5, Schedule.CYCLE),
    ("fan-4", "Exhaust fan 4", "排风机 4", "fan", "C", 7.5, Schedule.CYCLE),
    ("booster-1", "Booster pump 1", "生活水泵 1", "booster-pump", "B", 5.5, Schedule.DUTY),
    ("booster-2", "Booster pump 2", "生活水泵 2", "booster-pump", "B", 5.5, Schedule.STANDBY),
    ("booster-3", "Booster pump 3", "生活水泵 3", "booster-pump", "B", 5.5, Schedule.CYCLE),
    ("chilled-1", "Chilled water pump 1", "冷冻水泵 1", "pump", "B", 22.0, Schedule.DUTY),
    ("chilled-2", "Chilled water pump 2", "冷冻水泵 2", "pump", "B", 22.0, Schedule.STANDBY),
    ("cooling-1", "Cooling water pump 1", "冷却水泵 1", "pump", "B", 18.5, Schedule.DUTY),
    ("cooling-2", "Cooling water pump 2", "冷却水泵 2", "pump", "B", 18.5, Schedule.STANDBY),
    ("drain-1", "Drainage pump 1", "排水泵 1", "drainage-pump", "A", 4.0, Schedule.CYCLE),
)
_PANELS = (
    ("pump-1", "Fire pump 1", "消防泵 1", "fire-pump", "A", "PUMP-01", Schedule.WEEKLY_TEST),
    ("pump-2", "Fire pump 2", "消防泵 2", "fire-pump", "A", "PUMP-02", Schedule.WEEKLY_TEST),
    ("pump-3", "Fire pump 3", "消防泵 3", "fire-pump", "A", "PUMP-03", Schedule.WEEKLY_TEST),
    ("barrier-1", "Entrance barrier", "入口道闸", "barrier", "B", "GATE-01", Schedule.CYCLE),
    ("barrier-2", "Exit barrier", "出口道闸", "barrier", "B", "GATE-02", Schedule.CYCLE),
    ("leak-1", "Leak detector, pump room", "水泵房漏水检测", "leak-detector", "C", "LEAK-01", Schedule.STANDBY),
    ("leak-2", "Leak detector, switch room", "配电室漏水检测", "leak-detector", "C", "LEAK-02", Schedule.STANDBY),
    ("ats-1", "Transfer switch", "双电源切换", "transfer-switch", "A", "ATS-01", Schedule.ALWAYS),
)
_LIFTS = 6


def _along_wall(index: int, total: int, y_m: float) -> tuple[float, float]:
    """Position `index` of `total`, evenly spread along a wall at height `y_m`."""
    return round(4.0 + index * (FLOOR_WIDTH_M - 8.0) / max(total - 1, 1), 1), y_m


def _equipment() -> tuple[Equipment, ...]:
    found: list[Equipment] = []
    for index, (key, en, zh, criticality, kilowatts, schedule) in enumerate(_METERS):
        x_m, y_m = _along_wall(index, len(_METERS), 58.6)
        found.append(
            Equipment(
                f"meter-{key}", Name(en, zh), f"EM-{index + 1:02d}", Kind.METER, "eastron-sdm630", "meter",
                criticality, x_m, y_m, "switch-room", index + 1, schedule, kilowatts,
            )
        )  # fmt: skip
    for index, (key, en, zh, category, criticality, kilowatts, schedule) in enumerate(_DRIVES):
        x_m, y_m = _along_wall(index, len(_DRIVES), 1.4)
        code = key.upper() if key[-2] != "-" else f"{key[:-2].upper()}-0{key[-1]}"
        found.append(
            Equipment(
                key, Name(en, zh), code, Kind.DRIVE, "abb-acs580", category,
                criticality, x_m, y_m, "plant-room", index + 1, schedule, kilowatts,
            )
        )  # fmt: skip
    for index in range(_LIFTS):
        x_m, y_m = 94.8, round(8.0 + index * 9.0, 1)
        found.append(
            Equipment(
                f"lift-{index + 1}", Name(f"Lift {index + 1}", f"电梯 {index + 1}"), f"LIFT-{index + 1:02d}",
                Kind.LIFT, "lift-dry-contact", "lift", "A", x_m, y_m, "lift-machine-room", index + 1,
            )
        )  # fmt: skip
    for index, (key, en, zh, category, criticality, code, schedule) in enumerate(_PANELS):
        x_m, y_m = 1.2, round(5.0 + index * 7.0, 1)
        found.append(
            Equipment(
                key, Name(en, zh), code, Kind.PANEL, "generic-di", category,
                criticality, x_m, y_m, "safety-panels", index + 1, schedule,
            )
        )  # fmt: skip
    return tuple(found)


_WITHOUT_SENSOR = frozenset({41, 187})
_CLOSED = frozenset({164})
_RESERVED = frozenset({251, 252, 270, 271})


def _spaces() -> tuple[Space, ...]:
    found: list[Space] = []
    for centre_m in AISLE_CENTRES_M:
        for row_y_m in (centre_m + _AISLE_WIDTH_M / 2, centre_m - _AISLE_WIDTH_M / 2 - _SPACE_DEPTH_M):
            for column in range(_SPACES_PER_ROW):
                number = len(found) + 1
                sensed = number not in _WITHOUT_SENSOR
                state = "closed" if number in _CLOSED else "reserved" if number in _RESERVED else ""
                found.append(
                    Space(
                        id=f"b1-{number:03d}",
                        device=f"p-{number:03d}" if sensed else "",
                        dev_eui=f"70b3d57ed000{number:04x}",
                        x_m=round(_FIRST_SPACE_X_M + column * _SPACE_PITCH_M, 2),
                        y_m=round(row_y_m, 2),
                        width_m=_SPACE_WIDTH_M,
                        height_m=_SPACE_DEPTH_M,
                        state=state,
                    )
                )
    return tuple(found)


def demo_site() -> Site:
    """Jinji Lake Centre: 40 pieces of equipment, 288 spaces, 4 robots on one floor."""
    return Site(
        id="jinji-lake",
        name=Name("Jinji Lake Centre", "金鸡湖中心"),
        zone="Asia/Shanghai",
        gateway="gw-1",
        application="17c82e96-be03-4f38-aef3-f83d48582d97",
        equipment=_equipment(),
        spaces=_spaces(),
        robots=tuple(
            Robot(f"r{aisle + 1}", f"R{aisle + 1}", "acme", f"r-0{aisle + 1}", aisle, 1.4, round(centre_m, 1))
            for aisle, centre_m in enumerate(AISLE_CENTRES_M)
        ),
    )
