"""Series numbered for the columns of one agent: everything between filter and frame names a series by int32."""

from devices.reading import Int32s, Series


class SeriesTable:
    """Dense ids, given at first sight and never changed while the agent runs. One table serves both lanes."""

    def __init__(self) -> None:
        self._series: list[Series] = []
        self._ids: dict[Series, int] = {}

    def __len__(self) -> int:
        return len(self._series)

    def __getitem__(self, series_id: int) -> Series:
        return self._series[series_id]

    def id_of(self, series: Series) -> int:
        """The id of a series, a new one if it is unknown. A series with another unit or hold_s is another one."""
        known = self._ids.get(series)
        if known is None:
            known = self._ids[series] = len(self._series)
            self._series.append(series)
        return known

    def of(self, ids: Int32s) -> tuple[Series, ...]:
        """The series of each id, in their order. Raises IndexError for an id that was never given."""
        return tuple(self._series[index] for index in ids.tolist())
