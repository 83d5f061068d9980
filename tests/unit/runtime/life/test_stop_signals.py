"""SIGINT and SIGTERM, taken while consumers run and restored: several consumers, loops, threads, forked children."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyrallel_consumer.errors import StateError
from pyrallel_consumer.execution_plane.processes.forked_children import STOP_SIGNALS
from pyrallel_consumer.runtime.life.stop_signals import StopSignals

PATIENCE_SECONDS = 60.0
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(autouse=True)
def signals_as_they_were() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(params=["asyncio", "uvloop"])
def new_loop(request: pytest.FixtureRequest) -> LoopFactory:
    if request.param == "asyncio":
        return asyncio.new_event_loop
    uvloop = pytest.importorskip("uvloop", reason="uvloop is an extra")
    factory: LoopFactory = uvloop.new_event_loop
    return factory


class Ears:
    """The signals that one consumer gets, and a way to wait for them."""

    def __init__(self) -> None:
        self.heard: list[signal.Signals] = []
        self._next: asyncio.Queue[signal.Signals] = asyncio.Queue()

    def __call__(self, number: signal.Signals) -> None:
        self.heard.append(number)
        self._next.put_nowait(number)

    async def next(self) -> signal.Signals:
        """Two that come in one turn of the loop are told one after the other."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._next.get()


def run(main: Callable[[], Any], new_loop: LoopFactory = asyncio.new_event_loop) -> Any:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main())


def never(number: int, _: object) -> None:
    pytest.fail(f"{number} was taken by a consumer")


def test_each_of_several_consumers_hears_each_signal(new_loop: LoopFactory) -> None:
    async def main() -> None:
        one, other = Ears(), Ears()
        with StopSignals(one), StopSignals(other):
            for number in STOP_SIGNALS:
                signal.raise_signal(number)
                assert (await one.next(), await other.next()) == (number, number)

    run(main, new_loop)


@pytest.mark.parametrize("first_to_end", [0, 1])
def test_who_still_runs_hears_the_next_signal_whoever_has_ended(new_loop: LoopFactory, first_to_end: int) -> None:
    async def main() -> None:
        ears = [Ears(), Ears()]
        blocks = [StopSignals(each) for each in ears]
        for block in blocks:
            block.__enter__()
        blocks.pop(first_to_end).__exit__(None, None, None)
        ended = ears.pop(first_to_end)
        signal.raise_signal(signal.SIGTERM)
        assert await ears[0].next() == signal.SIGTERM
        assert ended.heard == []
        blocks[0].__exit__(None, None, None)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    run(main, new_loop)


def test_the_last_one_gives_back_what_the_first_one_found(new_loop: LoopFactory) -> None:
    signal.signal(signal.SIGTERM, never)

    async def main() -> None:
        ears = Ears()
        with StopSignals(Ears()), StopSignals(ears):
            signal.raise_signal(signal.SIGTERM)
            assert await ears.next() == signal.SIGTERM

    run(main, new_loop)

    assert signal.getsignal(signal.SIGTERM) is never


def test_a_handler_of_the_loop_s_own_hears_during_and_after_the_consumer_s_run(new_loop: LoopFactory) -> None:
    """A loop wakes its own handlers by a file descriptor that stays as it is, so these handlers cannot be suspended."""

    async def main() -> None:
        of_the_loop, ears = Ears(), Ears()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, of_the_loop, signal.SIGTERM)
        with StopSignals(ears):
            signal.raise_signal(signal.SIGTERM)
            assert await ears.next() == signal.SIGTERM
        await asyncio.sleep(0)
        heard = len(of_the_loop.heard)
        signal.raise_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(of_the_loop.heard) == heard:
                await of_the_loop.next()
        assert ears.heard == [signal.SIGTERM]

    run(main, new_loop)


def test_who_took_the_signal_meanwhile_keeps_it(new_loop: LoopFactory) -> None:
    async def main() -> None:
        with StopSignals(Ears()):
            signal.signal(signal.SIGTERM, never)

    run(main, new_loop)

    assert signal.getsignal(signal.SIGTERM) is never
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_after_the_consumer_s_run_interrupts_the_program_as_ever(new_loop: LoopFactory) -> None:
    async def main() -> None:
        ears = Ears()
        with StopSignals(ears):
            signal.raise_signal(signal.SIGINT)
            assert await ears.next() == signal.SIGINT
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(PATIENCE_SECONDS)

    with pytest.raises(KeyboardInterrupt):
        run(main, new_loop)


def test_a_signal_to_a_sleeping_loop_is_heard_at_once(new_loop: LoopFactory) -> None:
    async def main() -> None:
        ears = Ears()
        with StopSignals(ears):
            sender = threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGTERM))
            sender.start()
            assert await ears.next() == signal.SIGTERM
            sender.join()

    run(main, new_loop)


def test_a_loop_that_was_closed_under_its_consumer_leaves_the_signal_to_the_others(new_loop: LoopFactory) -> None:
    forgotten = new_loop()

    async def enter() -> None:
        StopSignals(Ears()).__enter__()

    forgotten.run_until_complete(enter())
    forgotten.close()

    async def main() -> None:
        ears = Ears()
        with StopSignals(ears):
            signal.raise_signal(signal.SIGTERM)
            assert await ears.next() == signal.SIGTERM

    run(main, new_loop)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_signal_that_no_consumer_is_left_to_hear_goes_where_it_went_before(new_loop: LoopFactory) -> None:
    heard: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    forgotten = new_loop()

    async def enter() -> None:
        StopSignals(Ears()).__enter__()

    forgotten.run_until_complete(enter())
    forgotten.close()
    signal.raise_signal(signal.SIGTERM)

    assert heard == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# Threads


def test_outside_of_the_main_thread_the_signals_cannot_be_taken() -> None:
    async def main() -> None:
        with StopSignals(Ears()):
            pytest.fail("nobody would hear")

    raised: list[BaseException] = []

    def on_a_thread() -> None:
        try:
            asyncio.run(main())
        except StateError as error:
            raised.append(error)

    thread = threading.Thread(target=on_a_thread)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    assert "use start() and stop() here" in str(raised[0])


def test_a_consumer_on_another_thread_s_loop_hears_what_the_main_thread_s_has_taken(new_loop: LoopFactory) -> None:
    entered, left = threading.Event(), threading.Event()
    heard: list[signal.Signals] = []

    async def main() -> None:
        ears = Ears()
        with StopSignals(ears):
            entered.set()
            heard.append(await ears.next())
            heard.append(await ears.next())
        left.set()

    thread = threading.Thread(target=lambda: run(main, new_loop))

    async def main_thread() -> None:
        ears = Ears()
        with StopSignals(ears):
            thread.start()
            assert await asyncio.to_thread(entered.wait, PATIENCE_SECONDS)
            signal.raise_signal(signal.SIGTERM)
            assert await ears.next() == signal.SIGTERM

    run(main_thread, new_loop)
    signal.raise_signal(signal.SIGINT)  # The main thread's consumer has ended, the other one has not.
    assert left.wait(PATIENCE_SECONDS)
    thread.join(PATIENCE_SECONDS)

    assert heard == [signal.SIGTERM, signal.SIGINT]
    with pytest.raises(KeyboardInterrupt):  # Nobody is left: Ctrl-C does what it did before.
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


# Signals that are ignored


def test_an_ignored_ctrl_c_stays_ignored_and_sigterm_is_heard(new_loop: LoopFactory) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def main() -> None:
        ears = Ears()
        with StopSignals(ears):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            assert await ears.next() == signal.SIGTERM
            assert ears.heard == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN

    run(main, new_loop)


def test_an_ignored_sigterm_is_taken_since_it_is_how_programs_are_told_to_stop(new_loop: LoopFactory) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

    async def main() -> None:
        ears = Ears()
        with StopSignals(ears):
            signal.raise_signal(signal.SIGTERM)
            assert await ears.next() == signal.SIGTERM

    run(main, new_loop)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


# Forked children


SEND_AGAIN_SECONDS = 1.0


def exit_code_of_forked_child(number: signal.Signals) -> int:
    """Fork a child that waits, and send it the signal; its exit code, or the negative number of what killed it.

    Sent again if it does not end: in a child forked by a thread, Python 3.13 forgets a signal that comes while it runs
    bytecode. Not before the child waits, and not soon: a second KeyboardInterrupt could hit it between two lines.
    """
    waits, tell = os.pipe()
    child = os.fork()
    if child == 0:
        code = 18  # From the beginning: a second interrupt could come before a line that sets it.
        try:
            os.write(tell, b".")
            for _ in range(int(PATIENCE_SECONDS * 100)):
                select.select([], [], [], 0.01)  # No lock: an interrupt in the middle of one is a RuntimeError.
            code = 17
        except Exception:  # noqa: BLE001 -- whatever it was, it was no interrupt
            code = 16
        finally:
            os._exit(code)
    os.close(tell)
    os.read(waits, 1)
    os.close(waits)
    send_at = 0.0
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() >= send_at:
            os.kill(child, number)
            send_at = time.monotonic() + SEND_AGAIN_SECONDS
        threading.Event().wait(0.01)
    return os.waitstatus_to_exitcode(ended[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 18)])
@pytest.mark.parametrize("from_thread", [False, True])
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_ends_by_the_signals_and_its_parent_does_not_hear_them(
    new_loop: LoopFactory, number: signal.Signals, code: int, from_thread: bool
) -> None:
    async def main() -> None:
        ears, of_the_loop = Ears(), Ears()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, of_the_loop, signal.SIGTERM)
        with StopSignals(ears):
            if from_thread:
                assert await asyncio.to_thread(exit_code_of_forked_child, number) == code
            else:
                assert exit_code_of_forked_child(number) == code
            signal.raise_signal(number)  # The loop reads it behind whatever the child had written.
            assert await ears.next() == number
            if number == signal.SIGTERM:
                await of_the_loop.next()
            assert ears.heard == [number]
            assert of_the_loop.heard == [number] * (number == signal.SIGTERM)

    run(main, new_loop)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_consumer_in_a_forked_child_takes_the_signals_anew(new_loop: LoopFactory) -> None:
    async def in_the_child() -> None:
        ears = Ears()
        with StopSignals(ears):
            signal.raise_signal(signal.SIGTERM)
            await ears.next()
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    def on_a_thread() -> int:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                run(in_the_child, asyncio.new_event_loop)
                code = 0
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    async def main() -> None:
        with StopSignals(Ears()):
            assert await asyncio.to_thread(on_a_thread) == 0

    run(main, new_loop)
