"""Read ahead: threads fill slabs of rows in the order of the data, a bounded number of them, while others are used.

A piece of bytes goes through three steps. A thread loads it, from any place of a plain file, beside the others. Then,
in the order of the pieces, it finds the rows in it and gives them places in slabs: this is quick, for no number is
looked at. Last it parses them into their places, beside the others again. So each row is written once, where it is
used, and memory is the slabs and a buffer a thread.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.contract.errors import DataError
from wildsage.data.channel import PlainFile, Stream, read_range
from wildsage.data.formats import MARGIN, Broken, Format, Rows, Slab
from wildsage.kernels.vector import aligned

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from numpy.typing import NDArray

PIECE = 1 << 22  # bytes that a thread takes at once: less would cost more in turns than caches give
SLACK = 1 << 14  # bytes read beyond a piece, for the row that crosses its end
SLAB_BYTES = 1 << 22
MOST_ROW_BYTES = 1 << 30  # a row beyond this is taken for a file of another format
WAIT_S = 1.0


@dataclass(frozen=True)
class _Ticket:
    """A piece to be read, by its number in the order of all."""

    number: int
    file: int
    begin: int  # in the file; -1 for what comes next in a stream
    end: int
    last: bool  # of a plain file


@dataclass
class _Job:
    rows: Rows
    slab: Slab
    first: int
    file: int


class _Buffer:
    """A thread's own bytes, a margin behind them. They begin at a cache line: the kernel copies 1.3 times as fast."""

    def __init__(self, size: int) -> None:
        self.array = aligned(size + MARGIN, np.uint8, zero=False)

    def grow(self, size: int) -> None:
        """Room for `size` bytes; what is there stays."""
        if size + MARGIN > len(self.array):
            larger = aligned(size * 5 // 4 + MARGIN, np.uint8, zero=False)
            larger[: len(self.array)] = self.array
            self.array = larger

    def view(self, begin: int, end: int) -> memoryview:
        return memoryview(self.array)[begin:end]  # type: ignore[arg-type]


@dataclass
class _Piece:
    """What a worker has in its hands during its turn."""

    ticket: _Ticket
    buffer: _Buffer
    jobs: list[_Job]
    scratch: Any


class Prefetch:
    """One pass over some files, as slabs in order."""

    def __init__(
        self,
        files: Sequence[PlainFile | Stream],
        format_: Format,
        *,
        batch_rows: int,
        threads: int,
        rank: int = 0,
        world_size: int = 1,
        stopped: Callable[[], bool] = lambda: False,
        slab_rows: int | None = None,
        piece: int | None = None,
    ) -> None:
        """rank, world_size: of so many workers this one gets each batch whose number leaves `rank`."""
        self._files, self._format, self._threads, self._stopped = files, format_, threads, stopped
        self._batch_rows, self._rank, self._world_size = batch_rows, rank, world_size
        self._piece = piece or PIECE
        self.slab_rows = slab_rows or batch_rows
        self.rows = 0  # found so far, of all workers
        self._change = threading.Condition()
        self._slabs = 0
        self._free: list[Slab] = []
        self._ordered: deque[Slab] = deque()
        self._current: Slab | None = None
        self._ended = False  # no more slabs will come
        self._closed = False
        # Who reads next, and where.
        self._issued = 0
        self._serving = 0
        self._file = 0
        self._offset = 0
        self._exhausted = False
        self._finished_streams: set[int] = set()
        # Known to whoever has the turn.
        self._turn_file = -1
        self._row_start = 0
        self._number = 1
        self._carry = b""
        self._stream_offset = 0
        self._open: dict[int, tuple[int, int]] = {}  # descriptor, pieces yet to come

    def __iter__(self) -> Generator[Slab, None, None]:
        """The slabs, each until the next is asked for."""
        # Taken here, where a lack of memory is raised: a thread that ended by it would be waited for in vain.
        rooms = [(_Buffer(self._piece + SLACK), self._format.scratch()) for _ in range(self._threads)]
        workers = [
            threading.Thread(target=self._work, args=room, name=f"reader-{number}", daemon=True)
            for number, room in enumerate(rooms)
        ]
        for worker in workers:
            worker.start()
        try:
            while (slab := self._next()) is not None:
                yield slab
                slab.clear()
                with self._change:
                    self._free.append(slab)
                    self._change.notify_all()
        finally:
            with self._change:
                self._closed = True
                self._change.notify_all()
            for worker in workers:
                worker.join()
            for file in self._files:
                if not isinstance(file, PlainFile):
                    file.close()
            for descriptor, _ in self._open.values():
                os.close(descriptor)
            self._open.clear()

    @property
    def expected_rows(self) -> int | None:
        """About how many rows all files have, from those found so far; None where files are streams."""
        if not all(isinstance(file, PlainFile) for file in self._files):
            return None
        sizes = [file.size for file in self._files if isinstance(file, PlainFile)]
        read = sum(sizes[: self._file]) + self._offset
        return round(self.rows * sum(sizes) / read) if read and self.rows else None

    def _next(self) -> Slab | None:
        with self._change:
            while True:
                if self._ordered and self._ordered[0].sealed and not self._ordered[0].pending:
                    return self._ordered.popleft()
                if self._ended and not self._ordered:
                    return None
                self._change.wait(WAIT_S)

    def _done(self) -> bool:
        return self._closed or self._stopped()

    # A worker.

    def _work(self, buffer: _Buffer, scratch: Any) -> None:
        while True:
            with self._change:
                ticket = self._reserve()
            if ticket is None:
                return
            error: BaseException | None = None
            loaded = 0
            try:
                if ticket.begin >= 0:
                    loaded = self._load(ticket, buffer)
            except Exception as caught:  # noqa: BLE001 (it is raised where the rows are used)
                error = caught
            if not self._wait_for_turn(ticket):
                return
            jobs: list[_Job] = []
            try:
                if error is not None:
                    raise error
                if not self._done():
                    self._cut(_Piece(ticket, buffer, jobs, scratch), loaded)
            except Exception as caught:  # noqa: BLE001
                self._fail(caught)
            self._pass_turn(ticket)
            self._parse(jobs, scratch)

    def _parse(self, jobs: list[_Job], scratch: Any) -> None:
        """Do the jobs, and empty the list."""
        for job in jobs:
            problem: BaseException | None = None
            try:
                self._format.parse(job.rows, job.slab, job.first, scratch)
                job.slab.files[job.first : job.first + job.rows.count] = job.file
            except Exception as caught:  # noqa: BLE001
                problem = caught
            with self._change:
                if problem is not None:
                    job.slab.fail(job.first, problem)
                job.slab.pending -= 1
                if job.slab.sealed and not job.slab.pending:
                    self._change.notify_all()
        jobs.clear()

    def _reserve(self) -> _Ticket | None:
        """The next piece, or None when there is none. Called with the lock."""
        while not self._closed and not self._exhausted:
            if self._file >= len(self._files):
                self._exhausted = True
                break
            file = self._files[self._file]
            if isinstance(file, PlainFile):
                if file.size == 0:
                    self._file += 1
                    continue
                begin, end = self._offset, min(self._offset + self._piece, file.size)
                ticket = _Ticket(self._issued, self._file, begin, end, end == file.size)
                self._issued += 1
                self._offset = end
                if ticket.last:
                    self._file, self._offset = self._file + 1, 0
                return ticket
            if self._file in self._finished_streams:
                self._file += 1
                continue
            ticket = _Ticket(self._issued, self._file, -1, -1, False)
            self._issued += 1
            return ticket
        if self._serving == self._issued:
            self._end()
        return None

    def _end(self) -> None:
        """No more rows will come. Called with the lock."""
        if not self._ended:
            self._ended = True
            if self._current is not None:
                self._current.sealed = True
                self._current = None
            self._change.notify_all()

    def _wait_for_turn(self, ticket: _Ticket) -> bool:
        with self._change:
            while self._serving != ticket.number and not self._closed:
                self._change.wait(WAIT_S)
            return not self._closed

    def _pass_turn(self, ticket: _Ticket) -> None:
        with self._change:
            self._serving = ticket.number + 1
            if self._done():
                self._exhausted = True
            if self._exhausted and self._serving == self._issued:
                self._end()
            self._change.notify_all()

    def _fail(self, error: BaseException) -> None:
        """Have an error raised behind the rows that were found so far, and read no more."""
        with self._change:
            slab = self._current
            if slab is None:
                slab = Slab.empty(0, self._format.shape)
                self._ordered.append(slab)
            slab.fail(slab.filled, error)
            slab.sealed = True
            self._current = None
            self._exhausted = True
            self._change.notify_all()

    # Bytes.

    def _descriptor(self, number: int, file: PlainFile) -> int:
        with self._change:
            if number not in self._open:
                try:
                    descriptor = os.open(file.path, os.O_RDONLY)
                except OSError as error:
                    raise DataError(f"cannot be read: {error.strerror}", file=file.name) from error
                self._open[number] = (descriptor, -(-file.size // self._piece))
            return self._open[number][0]

    def _let_go(self, number: int) -> None:
        """One piece of a plain file is read; after the last the file is closed."""
        with self._change:
            descriptor, pieces = self._open[number]
            self._open[number] = (descriptor, pieces - 1)
            if pieces == 1:
                os.close(descriptor)
                del self._open[number]

    def _load(self, ticket: _Ticket, buffer: _Buffer) -> int:
        file = self._files[ticket.file]
        if not isinstance(file, PlainFile):
            raise TypeError("a stream is read in turn")
        descriptor = self._descriptor(ticket.file, file)
        wanted = min(ticket.end + SLACK, file.size) - ticket.begin
        buffer.grow(wanted)
        return read_range(descriptor, buffer.view(0, wanted), ticket.begin, file.name)

    def _cut(self, piece: _Piece, loaded: int) -> None:
        number = piece.ticket.file
        if number != self._turn_file:
            self._turn_file, self._row_start, self._number = number, 0, 1
            self._carry, self._stream_offset = b"", 0
        file = self._files[number]
        if not isinstance(file, PlainFile):
            self._cut_stream(piece, file)
        else:
            self._cut_plain(piece, file, loaded)

    def _cut_plain(self, piece: _Piece, file: PlainFile, loaded: int) -> None:
        ticket = piece.ticket
        limit = ticket.end - ticket.begin
        at = self._row_start - ticket.begin
        while at < limit:
            whole = ticket.begin + loaded >= file.size or loaded < limit
            end = self._close_line(piece.buffer, loaded) if whole else loaded
            at = self._hand_out(piece, file.name, piece.buffer.array, at, limit, end, ticket.begin)
            if self._done():
                return
            if whole and at < min(limit, end):
                raise _cut_off(file.name, ticket.begin + at)
            if whole or at >= limit:
                break
            # A row that ends far behind the piece: load it again with more. Jobs still look at the old buffer.
            if loaded > MOST_ROW_BYTES:
                raise _too_long(file.name, self._row_start)
            if piece.jobs:
                piece.buffer = _Buffer(0)
            wanted = min(2 * loaded, file.size - ticket.begin)
            piece.buffer.grow(wanted)
            descriptor = self._descriptor(ticket.file, file)
            loaded = read_range(descriptor, piece.buffer.view(0, wanted), ticket.begin, file.name)
        self._row_start = ticket.begin + at
        self._let_go(ticket.file)

    def _cut_stream(self, piece: _Piece, stream: Stream) -> None:
        number, buffer = piece.ticket.file, piece.buffer
        if number in self._finished_streams:
            return
        held = len(self._carry)
        buffer.grow(held + self._piece)
        buffer.array[:held] = np.frombuffer(self._carry, np.uint8)
        ended, at, end = False, 0, 0
        while not at and not ended:
            if held > MOST_ROW_BYTES:
                raise _too_long(stream.name, self._stream_offset)
            size = held + self._piece
            buffer.grow(size)
            while held < size and not ended:
                count = stream.read_into(buffer.view(held, size))
                ended = count == 0
                held += count
            if self._done():
                return
            end = self._close_line(buffer, held) if ended else held
            at = self._hand_out(piece, stream.name, buffer.array, 0, end, end, self._stream_offset)
        if ended:
            if at < end and not self._done():
                raise _cut_off(stream.name, self._stream_offset + at)
            stream.close()
            with self._change:
                self._finished_streams.add(number)
        self._carry = buffer.array[at:held].tobytes()
        self._stream_offset += at

    def _close_line(self, buffer: _Buffer, end: int) -> int:
        """At the end of a file: give the last line its newline."""
        if not self._format.line_ends or end == 0 or buffer.array[end - 1] == 10:
            return end
        buffer.grow(end + 1)
        buffer.array[end] = 10
        return end + 1

    # Rows to slabs.

    def _hand_out(
        self, piece: _Piece, name: str, data: NDArray[np.uint8], at: int, limit: int, end: int, offset: int
    ) -> int:
        """Give the rows of data[at:] that begin before `limit` their places. Returns where the next row begins."""
        while at < limit:
            ours, room = self._turn_of()
            slab = self._room(piece) if ours else None
            if ours and slab is None:
                return at
            if slab is not None:
                room = min(room, len(slab.numbers) - slab.filled)
            broken: Broken | None = None
            try:
                rows, behind, numbers = self._format.find(data, at, limit, end, room)
            except Broken as caught:
                broken, rows, behind, numbers = caught, caught.rows, caught.at, caught.rows
            if slab is not None and rows:
                found = Rows(data, at, behind, rows, name, self._number, offset)
                piece.jobs.append(_Job(found, slab, slab.filled, piece.ticket.file))
                with self._change:
                    slab.filled += rows
                    slab.pending += 1
            self.rows += rows
            self._number += numbers
            if broken is not None:
                unit = {"line": self._number} if self._format.unit == "line" else {"record": self._number}
                raise DataError(broken.reason, file=name, byte=offset + broken.at, **unit)
            if slab is not None and slab.filled == len(slab.numbers):
                with self._change:
                    slab.sealed = True
                    self._current = None
            at = behind
            if rows < room:
                break
        return at

    def _turn_of(self) -> tuple[bool, int]:
        """Whether the next rows are this worker's, and how many more are of the same worker."""
        if self._world_size == 1:
            return True, 1 << 62
        number, within = divmod(self.rows, self._batch_rows)
        return number % self._world_size == self._rank, self._batch_rows - within

    def _room(self, piece: _Piece) -> Slab | None:
        """The slab that is being filled, waited for if need be; None if nobody wants more."""
        slab = self._slab(wait=False)
        if slab is None:
            # What is in hand may be what all slabs wait for.
            self._parse(piece.jobs, piece.scratch)
            slab = self._slab(wait=True)
        return slab

    def _slab(self, *, wait: bool) -> Slab | None:
        with self._change:
            while self._current is None:
                if self._done():
                    return None
                if self._free:
                    self._current = self._free.pop()  # the one used last: it is in the caches
                elif self._slabs < self._threads + 2:
                    self._slabs += 1
                    self._current = Slab.empty(self.slab_rows, self._format.shape)
                elif wait:
                    self._change.wait(WAIT_S)
                    continue
                else:
                    return None
                self._ordered.append(self._current)
            return self._current


def _cut_off(name: str, byte: int) -> DataError:
    return DataError("the file ends within a row: it is cut off", file=name, byte=byte)


def _too_long(name: str, byte: int) -> DataError:
    return DataError(f"a row of more than {MOST_ROW_BYTES >> 20} MB", file=name, byte=byte)
