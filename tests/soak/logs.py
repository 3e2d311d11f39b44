"""What was stored of what the runs printed."""

import re
from typing import Final

from tests.soak.evidence_index import EvidenceIndex, Findings
from tests.soak.history import Entry, Life

FATE_UNKNOWN: Final = -2
_LINE = re.compile(r"line (\d+) of (\S+)")


def logs_true(index: EvidenceIndex) -> Findings:
    """I7 the stored log is what was printed, by the task's policy, numbered without gap or repeat"""
    for run, log in index.found.logs.items():
        record, lives = index.found.records[run], index.found.lives.get(run, [])
        if len(lives) == 1:
            yield _wrong_log(index.found.tasks[record["task_name"]], record, lives[0], log)
        elif not lives:
            printed = [line["text"] for line in log["lines"] if line["stream"] != "system"]
            yield f"run {run} printed nothing, but its log says {printed[:3]}" if printed else None


def _wrong_log(limits: Entry, record: Entry, life: Life, log: Entry) -> str | None:
    name, lines = f"{record['task_name']} run {life.run}", log["lines"]
    numbers = [line["n"] for line in lines if line["stream"] != "system"]
    if numbers != list(range(numbers[0], numbers[0] + len(numbers)) if numbers else []):
        return f"{name}: line numbers are not in a row: {_break(numbers)}"
    texts = [line["text"] for line in lines if line["stream"] != "system"]
    printed: list[int] = []
    for place, text in enumerate(texts):
        told = _LINE.fullmatch(text)
        if told and told[2] == life.run:
            printed.append(int(told[1]))
            continue
        cut = _number_of_piece(text, printed, life) if place == len(texts) - 1 else None
        if cut is None:
            return f"{name}: line {numbers[place]} is foreign: {text!r}"
        printed.append(cut)
    start = printed[0] if printed else 0
    if printed != list(range(start, start + len(printed))):
        return f"{name}: a line is missing or doubled: {_break(printed)}"
    keeps, truncated = limits["keeps"], log["truncated"]
    if sum(len(line["text"]) + 1 for line in lines if line["stream"] != "system") > limits["log_max_bytes"] + 64:
        return f"{name}: keeps more than log_max_size"
    if keeps != "drop_old" and start:
        return f"{name}: begins with line {start} of what was printed"
    end = start + len(printed)
    if end > life.printing:
        return f"{name}: has {end} lines, but only {life.printing} were printed"
    is_whole = record["exit_code"] != FATE_UNKNOWN  # a worker that was lost took what was not stored yet with it
    if is_whole and end < life.printed and not (keeps == "drop_new" and truncated):
        return f"{name}: {life.printed} lines were printed, {end} are accounted for"
    if is_whole and truncated and keeps == "all":
        return f"{name}: is truncated though nothing was to be dropped"
    said = next((line["text"] for line in lines if line["stream"] == "system" and "are missing" in line["text"]), "")
    if is_whole and truncated and keeps != "all":
        missing = int(re.search(r"(\d+) lines", said)[1]) if said else -1  # type: ignore[index]  # the text has one
        if not life.printed <= len(printed) + missing <= life.printing:
            return f"{name}: {life.printed} printed, {len(printed)} kept, but {said or 'nothing'!r} is said of the rest"
    return None


def _number_of_piece(text: str, printed: list[int], life: Life) -> int | None:
    """Which line *text* is the beginning of: a process that dies while it waits for room in the pipe leaves a piece."""
    could_be = range(life.printed, life.printing)
    follows = [n for n in could_be if not printed or n == printed[-1] + 1]
    return next((n for n in follows if f"line {n} of {life.run}".startswith(text)), None)


def _break(numbers: list[int]) -> str:
    """Where numbers that should be in a row are not."""
    return next(
        (f"… {numbers[i - 1]}, {number} …" for i, number in enumerate(numbers) if i and number != numbers[i - 1] + 1),
        str(numbers[:3]),
    )
