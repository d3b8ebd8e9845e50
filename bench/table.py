"""Medians over the rounds, ratios between servers, and how they are written down. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench.case import Better, Figure

# Above this many cores of other work (the kernel's writing to the disk is a part of it) a cell is marked.
DISTURBED_CORES = 0.5


@dataclass(frozen=True, slots=True)
class Cell:
    """What one server did in one row, over all rounds."""

    values: list[float]
    cpu: float | None
    peak_rss_mib: float | None
    note: str
    others: list[float]

    @property
    def median(self) -> float:
        return median(self.values)


@dataclass
class Row:
    """One row of the table: a cell per server that has one."""

    name: str
    unit: str
    better: Better
    cpu_unit: str
    cells: dict[str, Cell] = field(default_factory=dict)

    def ratio(self, subject: str, other: str) -> float | None:
        """The subject's median as a multiple of the other's, or None where there is nothing to compare."""
        mine, theirs = self.cells.get(subject), self.cells.get(other)
        if mine is None or theirs is None or theirs.median == 0:
            return None
        return mine.median / theirs.median


def rows_of(rounds: dict[str, Sequence[Sequence[Figure]]]) -> list[Row]:
    """The rows of one case from what each server gave in each round; peak memory is the highest of all rounds."""
    rows: dict[str, Row] = {}
    for server, given in rounds.items():
        by_row: dict[str, list[Figure]] = {}
        for figure in (figure for figures in given for figure in figures):
            by_row.setdefault(figure.row, []).append(figure)
        for name, figures in by_row.items():
            first = figures[0]
            row = rows.setdefault(name, Row(name, first.unit, first.better, first.cpu_unit))
            cpus = [figure.cpu for figure in figures if figure.cpu is not None]
            peaks = [figure.peak_rss_mib for figure in figures if figure.peak_rss_mib is not None]
            values = [figure.value for figure in figures]
            others = [figure.others for figure in figures]
            cpu = median(cpus) if cpus else None
            row.cells[server] = Cell(values, cpu, max(peaks, default=None), first.note, others)
    return list(rows.values())


def markdown(rows: Sequence[Row], servers: Sequence[str]) -> str:
    """A table whose first server is the subject: its figures, those of the others, and its ratio to each of them."""
    subject, *others = servers
    heads = ["work", "unit", "better", *servers, *(f"{subject} / {other}" for other in others)]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for row in rows:
        cells = [_cell(row.cells.get(server), row.cpu_unit) for server in servers]
        ratios = [_ratio(row.ratio(subject, other)) for other in others]
        lines.append(_line([row.name, row.unit, row.better, *cells, *ratios]))
    return "\n".join(lines)


def as_json(rows: Sequence[Row], servers: Sequence[str]) -> list[dict[str, Any]]:
    subject, *others = servers
    return [
        {
            "work": row.name,
            "unit": row.unit,
            "better": row.better,
            "cpu_unit": row.cpu_unit,
            "servers": {
                name: {
                    "median": cell.median,
                    "values": cell.values,
                    "cpu": cell.cpu,
                    "peak_rss_mib": cell.peak_rss_mib,
                    "note": cell.note,
                    "others": cell.others,
                }
                for name, cell in row.cells.items()
            },
            "ratios": {other: row.ratio(subject, other) for other in others},
        }
        for row in rows
    ]


def _line(words: Sequence[str]) -> str:
    return f"| {' | '.join(words)} |"


def _cell(cell: Cell | None, cpu_unit: str) -> str:
    if cell is None:
        return "-"
    text = number(cell.median)
    if len(cell.values) > 1:
        text += f" ({number(min(cell.values))}-{number(max(cell.values))})"
    if cell.cpu is not None:
        text += f"; {number(cell.cpu)} {cpu_unit}"
    if cell.peak_rss_mib is not None:
        text += f"; {number(cell.peak_rss_mib)} MiB"
    if median(cell.others) > DISTURBED_CORES:
        text += " *"
    if cell.note:
        text += f" [{cell.note}]"
    return text


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def number(value: float) -> str:
    """Three significant figures, never in powers of ten."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if value >= 0.001 else "0"
