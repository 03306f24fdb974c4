"""Children of a run take signals as they would without it; the run itself goes on being asked."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor

import pytest
from cli import environment

from alignpro.cli import app
from alignpro.errors import ProcessLost
from alignpro.runtime import interrupt
from alignpro.runtime.interrupt import StopRequest

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded"),
]
FORK = multiprocessing.get_context("fork") if hasattr(os, "fork") else None


def forever():
    time.sleep(60)


def ended(number, wait=0.0):
    """The exit code of a forked child that a signal was sent to."""
    process = FORK.Process(target=forever)
    process.start()
    time.sleep(wait)
    os.kill(process.pid, number)
    process.join(5)
    code = process.exitcode
    process.kill()
    process.join()
    return code


@pytest.fixture
def asked():
    """Two requests, one within the other, as a study and its run have them."""
    with StopRequest("outer"), StopRequest("inner") as stop:
        yield stop


@pytest.mark.usefixtures("asked")
def test_a_forked_child_ends_by_sigterm_even_one_sent_at_once():
    assert {ended(signal.SIGTERM) for _ in range(20)} == {-signal.SIGTERM}
    codes = []
    thread = threading.Thread(target=lambda: codes.append(ended(signal.SIGTERM)))
    thread.start()
    thread.join()
    assert codes == [-signal.SIGTERM]


def test_a_forked_child_is_interrupted_by_ctrl_c(capfd):
    own = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs without it
    try:
        with StopRequest("outer"), StopRequest("inner"):
            assert ended(signal.SIGINT, wait=0.2) == 1
    finally:
        signal.signal(signal.SIGINT, own)
    assert "KeyboardInterrupt" in capfd.readouterr().err


@pytest.mark.usefixtures("asked")
def test_pools_end():
    begun = time.monotonic()
    with FORK.Pool(2) as pool:
        assert pool.map(abs, [-1, 2]) == [1, 2]
    with ProcessPoolExecutor(2, mp_context=FORK) as pool:
        assert list(pool.map(abs, [-1, 2])) == [1, 2]
        for process in pool._processes.values():
            process.terminate()
    assert time.monotonic() - begun < 20


def test_the_run_itself_is_asked_and_gets_back_what_there_was(asked, capfd):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert ended(signal.SIGTERM) == -signal.SIGTERM
    assert not asked.asked
    signal.raise_signal(signal.SIGTERM)
    assert asked.asked
    assert "inner; once more to stop at once" in capfd.readouterr().err
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_a_handler_that_was_set_since_is_a_childs_too():
    with StopRequest("here"):
        signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
        assert ended(signal.SIGTERM, wait=0.1) == 7
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_outside_the_main_thread_nothing_is_taken_over():
    before = signal.getsignal(signal.SIGTERM)

    def work():
        with StopRequest("there"):
            seen.append(signal.getsignal(signal.SIGTERM))

    seen = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before] == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.parametrize("way", ["spawn", "forkserver"])
def test_other_ways_of_beginning_a_process_are_not_touched(way, asked):
    process = multiprocessing.get_context(way).Process(target=time.sleep, args=(60,))
    process.start()
    process.terminate()
    process.join(20)
    assert process.exitcode == -signal.SIGTERM
    assert not asked.asked


def test_a_terminal_that_goes_asks_it_too_and_nohup_lets_it_be():
    own = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with StopRequest("saving") as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop.asked
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with StopRequest("saving") as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.asked
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, own)


def test_the_second_says_that_it_ends_and_the_next_do_not_break_into_that(capfd, monkeypatch):
    left = []
    monkeypatch.setattr(interrupt.os, "_exit", left.append)
    with pytest.raises(KeyboardInterrupt), StopRequest("saving"):
        signal.raise_signal(signal.SIGINT)
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            for _ in range(3):
                signal.raise_signal(signal.SIGINT)
            assert left == []
            monkeypatch.setattr(interrupt, "PATIENCE", -1.0)
            signal.raise_signal(signal.SIGTERM)
    assert left == [128 + signal.SIGTERM]
    said = capfd.readouterr().err.split("\n")
    assert [line for line in said if line] == ["saving; once more to stop at once", "stopping at once"]


WAITING = """
import sys, time
from pathlib import Path
from alignpro.cli import app as cli
from alignpro.errors import Interrupted
from alignpro.runtime.interrupt import StopRequest
from alignpro.runtime.progress import Progress

@cli.app.command()
def wait(out: Path) -> None:
    progress = Progress()
    with StopRequest("saving") as stop, progress.task("waiting", 900) as advance:
        out.write_text("ready")
        for second in range(900):
            time.sleep(0.03)
            advance(second)
            if stop.asked and out.name == "saves":
                progress.say("a line")
                out.write_text("saved")
                raise Interrupted("stopped")

sys.argv = ["alignpro", "wait", sys.argv[1]]
cli.main()
"""


def begun(out, **streams):
    process = subprocess.Popen([sys.executable, "-c", WAITING, str(out)], text=True, env=environment(), **streams)
    until = time.monotonic() + 60
    while not out.exists() and time.monotonic() < until:
        time.sleep(0.02)
    return process


def test_five_times_ctrl_c_leaves_a_line_and_no_trace(tmp_path):
    process = begun(tmp_path / "waits", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        time.sleep(0.01)
    output, _ = process.communicate(timeout=20)
    assert "Traceback" not in output and "Exception" not in output, output
    assert "saving; once more to stop at once\n" in output
    assert "stopping at once\n" in output
    assert output.count("alignpro: stopped at once; start it again\n") == 1, output
    assert process.returncode in (1, -signal.SIGINT)  # of the last, where Python has put its handlers away already


def test_a_run_saves_when_its_terminal_goes(tmp_path):
    """Its bar can no longer be drawn then, nor its last line be written."""
    own, terminal = os.openpty()
    process = begun(
        tmp_path / "saves", stdin=terminal, stdout=terminal, stderr=terminal, preexec_fn=lambda: leads(terminal)
    )
    os.close(terminal)
    os.read(own, 4096)
    os.close(own)
    assert process.wait(20) == 1
    assert (tmp_path / "saves").read_text() == "saved"


def leads(terminal):
    """Make the terminal that of a session of its own, as a shell in a window has it."""
    import fcntl
    import termios

    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever began the tests may have had it ignored, as nohup does
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


@pytest.fixture
def handlers():
    """Those of this process, put back afterwards."""
    own = {number: signal.getsignal(number) for number in interrupt.SIGNALS}
    yield
    for number, handler in own.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_a_launchers_sigterm_does_not_cut_off_the_reason(monkeypatch, capfd):
    """It comes at once to those that are left when one of several processes is killed."""

    def tell(text, show, lost):
        signal.raise_signal(signal.SIGTERM)
        show(text)

    monkeypatch.setattr(app.processes, "tell", tell)
    with pytest.raises(SystemExit):
        app._fail("another process of this run has ended", 1, lost=True)
    assert capfd.readouterr().err == "alignpro: another process of this run has ended\n"


@pytest.mark.usefixtures("handlers")
def test_of_several_processes_one_that_is_told_to_end_says_why(monkeypatch):
    monkeypatch.setattr(app.processes, "begin", lambda: None)
    monkeypatch.setattr(app.processes, "count", lambda: 2)
    with pytest.raises(ProcessLost, match="told to end by signal 15, which a launcher sends"), app._together(["run"]):
        signal.raise_signal(signal.SIGTERM)
