"""What becomes of what a run prints."""

import itertools
import time
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.store.log_record import StoredLine as Line
from worker.logs.line_buffer import UNFINISHED_MAX, LineBuffer
from worker.logs.masking import Mask
from worker.logs.sanitize import LINE_MAX

BIG = 1 << 30


def texts(capture: LineBuffer) -> list[str]:
    return [line.text for line in capture.take(BIG)]


def printed(*chunks: bytes, secrets: tuple[str, ...] = ()) -> list[str]:
    capture = LineBuffer(BIG, "drop_old", Mask(secrets))
    for chunk in chunks:
        capture.feed("stdout", chunk, 0)
    capture.finish(0)
    return texts(capture)


def test_lines_have_number_time_stream_and_text() -> None:
    capture = LineBuffer(BIG, "drop_old")
    capture.feed("stdout", b"one\ntwo", 11)
    capture.feed("stderr", b"three\n", 12)
    capture.feed("stdout", b" and more\n", 13)
    capture.system("stopping", 14)
    assert capture.take() == [
        Line(0, 11, 0, "one", False),
        Line(1, 12, 1, "three", False),
        Line(2, 13, 0, "two and more", False),
        Line(3, 14, 2, "stopping", False),
    ]
    assert (capture.lines, capture.bytes, capture.produced) == (4, 4 + 6 + 13 + 9, 4)


def test_a_line_without_its_end_waits_for_it_or_the_finish() -> None:
    capture = LineBuffer(BIG, "drop_old")
    capture.feed("stdout", b"no end", 1)
    assert capture.take() == []
    capture.finish(2)
    assert capture.take() == [Line(0, 2, 0, "no end", False)]


def test_an_empty_line_is_a_line_and_no_output_is_none() -> None:
    assert printed(b"\n\na\n") == ["", "", "a"]
    assert printed() == printed(b"") == []


def test_characters_split_between_reads_are_whole() -> None:
    data = "é€😀\n".encode()
    assert printed(*(data[i : i + 1] for i in range(len(data)))) == ["é€😀"]


def test_invalid_bytes_are_replaced() -> None:
    assert printed(b"a\xff\xfeb\xe2\x82\nc") == ["a\ufffd\ufffdb\ufffd", "c"]


def test_control_characters_are_visible_and_colours_and_tabs_stay() -> None:
    assert printed(b"\x00\x07\x1b[2J\x7f\t\x1b[1;31mred\x1b[0m\xc2\x9b\x0b\n") == [
        "␀␇␛[2J␡\t\x1b[1;31mred\x1b[0m\\x9b␋"
    ]


@pytest.mark.parametrize(
    "chunks",
    [
        [b"1%\r50%\r100%\ndone\r\n"],
        [b"1%\r", b"50%\r", b"100%", b"\ndone\r", b"\n"],
        [b"1%", b"\r50%\r100%\r", b"\r\ndone\n"],
        [b"1%\r50%\r100%\r\ndone"],
    ],
)
def test_progress_keeps_its_last_state(chunks: list[bytes]) -> None:
    assert printed(*chunks) == ["100%", "done"]


def test_endless_progress_needs_no_memory_and_is_one_line() -> None:
    capture = LineBuffer(BIG, "drop_old")
    for number in range(20_000):
        capture.feed("stdout", b"\r%06d of a bar" % number, 0)
    assert capture.pending_bytes == 0
    capture.finish(0)
    assert texts(capture) == ["019999 of a bar"]


@pytest.mark.parametrize("by", [1000, 65536, 300_000])
def test_a_long_line_is_split_and_marked(by: int) -> None:
    data = b"x" * (LINE_MAX * 4 + 10) + b"\nend\n"
    capture = LineBuffer(BIG, "drop_old")
    for start in range(0, len(data), by):
        capture.feed("stdout", data[start : start + by], 0)
    capture.finish(0)
    lines = capture.take(BIG)
    assert "".join(line.text for line in lines[:-1]) == "x" * (LINE_MAX * 4 + 10)
    assert [line.continued for line in lines] == [True] * (len(lines) - 2) + [False, False]
    assert all(len(line.text.encode()) <= LINE_MAX for line in lines)
    assert [line.n for line in lines] == list(range(len(lines)))


def test_a_long_line_is_not_split_within_a_character_or_a_colour() -> None:
    for ahead in range(8):
        for odd in ("€", "\x1b[31m"):
            text = "x" * (LINE_MAX - ahead) + odd * 40_000
            for sent in (text, text + "\n"):
                capture = LineBuffer(BIG, "drop_old")
                capture.feed("stdout", sent.encode(), 0)
                capture.finish(0)
                got = texts(capture)
                assert "".join(got) == text
                assert all(len(one.encode()) <= LINE_MAX for one in got)
                assert not any(one.endswith("\x1b") for one in got)


def test_secrets_are_masked_longest_first() -> None:
    assert printed(b"a token-long token b\n", secrets=("token", "token-long")) == ["a [redacted] [redacted] b"]


def test_a_secret_split_between_reads_is_masked() -> None:
    data = b"say hunter2 now\n"
    assert printed(*(data[i : i + 1] for i in range(len(data))), secrets=("hunter2",)) == ["say [redacted] now"]


def test_each_line_of_a_secret_of_several_is_masked() -> None:
    key = "-----BEGIN\nabcdefgh\nxy\n-----END\n"
    assert printed(key.encode(), secrets=(key,)) == ["[redacted]", "[redacted]", "xy", "[redacted]"]
    assert printed(key.replace("\n", "\r\n").encode(), secrets=(key,))[1] == "[redacted]"
    assert printed(b"in one: lonely\n", secrets=("lonely\n",)) == ["in one: [redacted]"]


@pytest.mark.parametrize("by", [7, 65536])
@pytest.mark.parametrize("secret", ["s3cret-and-quite-long", "s3cret-" + "longer-than-any-colour-" * 4])
def test_a_secret_where_a_long_line_is_cut_is_masked(secret: str, by: int) -> None:
    for ahead in range(0, len(secret) + 2, 3):
        data = b"x" * (LINE_MAX - ahead) + secret.encode() + b"y" * 100_000
        capture = LineBuffer(BIG, "drop_old", Mask([secret, secret[:6]]))
        near = LINE_MAX - 200
        places = [0, *range(near, near + 600, by), *range(near + 600, len(data), 65536), len(data)]
        for start, end in itertools.pairwise(places):
            capture.feed("stdout", data[start:end], 0)
        capture.finish(0)
        assert "".join(texts(capture)) == "x" * (LINE_MAX - ahead) + "[redacted]" + "y" * 100_000


def test_secrets_are_masked_in_system_lines() -> None:
    capture = LineBuffer(BIG, "drop_old", Mask(["hunter2"]))
    capture.system("cannot start hunter2\nat all", 0)
    assert texts(capture) == ["cannot start [redacted]", "at all"]


def test_drop_old_keeps_the_newest_and_says_what_is_missing() -> None:
    capture = LineBuffer(30, "drop_old")
    capture.feed("stdout", b"".join(b"line %d...\n" % number for number in range(10)), 0)
    capture.finish(9)
    lines = capture.take()
    assert [(line.n, line.text) for line in lines[:-1]] == [(number, f"line {number}...") for number in (7, 8, 9)]
    assert lines[-1].stream == 2
    assert "7 lines (70 bytes) are missing" in lines[-1].text
    assert capture.truncated
    assert capture.first_kept == lines[0].n


def test_drop_old_returns_the_stored_lines_to_drop() -> None:
    capture = LineBuffer(30, "drop_old")
    capture.feed("stdout", b"0........\n1........\n2........\n", 0)
    assert [line.n for line in capture.take()] == [0, 1, 2]
    assert (capture.first_kept, capture.truncated) == (0, False)
    capture.feed("stdout", b"3........\n", 0)
    assert [line.n for line in capture.take()] == [3]
    assert (capture.first_kept, capture.lines, capture.bytes, capture.truncated) == (1, 3, 30, True)
    assert (capture.dropped_lines, capture.dropped_bytes) == (1, 10)


def test_drop_new_keeps_the_oldest_and_says_what_is_missing() -> None:
    capture = LineBuffer(30, "drop_new")
    capture.feed("stdout", b"".join(b"line %d...\n" % number for number in range(5)), 0)
    capture.feed("stdout", b"short\nwithout end", 0)
    capture.finish(9)
    *kept, last = capture.take()
    assert [line.text for line in kept] == ["line 0...", "line 1...", "line 2..."]
    assert (last.n, last.stream) == (7, 2)
    assert "4 lines" in last.text
    assert (capture.first_kept, capture.truncated, capture.overflowed) == (0, True, False)


def test_kill_reports_an_overflow_and_keeps_what_fits() -> None:
    capture = LineBuffer(30, "kill")
    capture.feed("stdout", b"line 0...\nline 1...\nline 2...\n", 0)
    seen = [capture.overflowed]
    capture.feed("stdout", b"x\n", 0)
    seen.append(capture.overflowed)
    assert seen == [False, True]
    assert len(capture.take()) == 3


@given(
    st.lists(st.binary(max_size=40).map(lambda data: data.replace(b"\x01", b"\n")), max_size=30),
    st.integers(1, 200),
    st.sampled_from(["drop_old", "drop_new", "kill"]),
    st.integers(1, 5),
)
def test_what_is_kept_exceeds_the_limit_by_a_line_at_most(
    chunks: list[bytes], limit: int, on_full: Literal["drop_old", "drop_new", "kill"], every: int
) -> None:
    whole = printed(*chunks)
    capture = LineBuffer(limit, on_full)
    stored: list[Line] = []
    for number, chunk in enumerate(chunks):
        capture.feed("stdout", chunk, number)
        if number % every == 0:
            stored += capture.take()
    stored += capture.take()
    sizes = {line.n: len(line.text.encode()) + 1 for line in stored}
    kept = [line for line in stored if line.n >= capture.first_kept]
    assert sum(sizes[line.n] for line in kept) == capture.bytes
    assert len(kept) == capture.lines
    assert capture.bytes <= limit + max((sizes[line.n] for line in kept), default=0)
    assert capture.lines + capture.dropped_lines == capture.produced
    capture.finish(0)
    stored += capture.take()
    numbers = [line.n for line in stored]
    assert numbers == sorted(set(numbers))
    shown = [line for line in stored if line.n >= capture.first_kept and line.stream != 2]
    assert [line.text for line in shown] == [whole[line.n] for line in shown]
    if not capture.truncated:
        assert [line.text for line in stored] == whole
    msgspec.json.encode(stored)


@given(st.text(alphabet="ab\n\r\x1b[1méx\x00", max_size=60), st.lists(st.integers(0, 80), max_size=8))
def test_where_reads_end_makes_no_difference(text: str, cuts: list[int]) -> None:
    data = text.encode()
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    parts = [data[start:end] for start, end in itertools.pairwise(places)]
    assert printed(*parts, secrets=("ab", "aba")) == printed(data, secrets=("ab", "aba"))


def test_taking_is_bounded_but_never_stuck() -> None:
    capture = LineBuffer(BIG, "drop_old")
    capture.feed("stdout", b"x" * 99 + b"\n" + b"y" * 9 + b"\n" + b"z" * 9 + b"\n", 0)
    assert [line.n for line in capture.take(10)] == [0]
    assert capture.pending_bytes == 20
    assert [line.n for line in capture.take(20)] == [1, 2]
    assert capture.take(10) == []


@pytest.mark.parametrize("on_full", ["drop_old", "drop_new"])
def test_a_flood_costs_little(on_full: Literal["drop_old", "drop_new"]) -> None:
    block = b"".join(b"a line %06d of a usual length, some sixty bytes or so\n" % number for number in range(1200))
    capture = LineBuffer(1 << 20, on_full, Mask(["hunter2"]))
    started_s = time.process_time()
    for _ in range(50_000_000 // len(block)):
        capture.feed("stdout", block, 0)
    capture.finish(0)
    assert time.process_time() - started_s < 2.5, "50 MB took seconds"
    assert 0 < sum(len(line.text) + 1 for line in capture.take(BIG)[:-1]) <= 1 << 20


def unfinished(*chunks: bytes, secrets: tuple[str, ...] = ()) -> str:
    capture = LineBuffer(BIG, "drop_old", Mask(secrets))
    for chunk in chunks:
        capture.feed("stdout", chunk, 0)
    assert capture.unfinished("stderr") == ""
    return capture.unfinished("stdout")


def test_what_has_no_end_yet_is_known() -> None:
    assert unfinished(b"whole\nDownloading", b"... ") == "Downloading... "
    assert unfinished(b"10%\r20%", b"\r30%\r") == "30%"
    assert unfinished(b"whole\n") == unfinished() == ""
    assert unfinished(b"x" * (UNFINISHED_MAX + 3) + b"end") == "x" * (UNFINISHED_MAX - 3) + "end"


def test_the_end_of_what_is_unfinished_is_held_back_until_it_is_clear() -> None:
    assert unfinished("snö".encode()[:-1]) == unfinished("sn⚡".encode()[:-1]) == "sn"
    assert unfinished("snö ⚡".encode()) == "snö ⚡"
    assert unfinished(b"\xff and on") == "\ufffd and on"
    assert unfinished(b"red \x1b[3") == "red "
    assert unfinished(b"red \x1b[31m") == "red \x1b[31m"


@given(st.text("abcdx", max_size=30), st.lists(st.text("abcdx", min_size=2, max_size=5), min_size=1, max_size=4))
def test_no_beginning_of_a_secret_is_shown_of_an_unfinished_line(text: str, secrets: list[str]) -> None:
    shown = unfinished(text.encode(), secrets=tuple(secrets))
    whole = [printed(f"{text}{after}".encode(), secrets=tuple(secrets))[0] for after in ("!", *secrets)] if text else []
    assert all(line.startswith(shown) for line in whole)


def test_what_was_waiting_for_its_line_when_the_log_became_full_is_counted() -> None:
    capture = LineBuffer(10, "drop_new")
    capture.feed("stdout", b"too long for it\nabc", 0)
    capture.feed("stdout", b"de\nf", 0)
    capture.feed("stderr", b"gh\n", 0)
    capture.finish(0)
    assert (capture.dropped_lines, capture.dropped_bytes) == (4, 16 + 3 + 4 + 3)
