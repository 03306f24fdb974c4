"""One process at a time works in a folder; one that died keeps nothing."""

import errno
import os
import signal
import subprocess
import sys
import threading

import pytest
from cli import environment

from alignpro import config
from alignpro.errors import FolderInUse, RunFolderTaken, UsageError
from alignpro.fits.rlhf import fine_tune
from alignpro.running import job
from alignpro.runtime import lock, run_folder
from alignpro.runtime.lock import NAME, Lock
from alignpro.runtime.run_folder import RunFolder

HOLDER = """
import sys, time
from pathlib import Path
from alignpro.runtime.lock import Lock
Lock(Path(sys.argv[1])).take()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment()
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_is_refused_while_the_first_lives_and_not_when_it_was_killed(tmp_path, holder):
    with pytest.raises(FolderInUse, match=rf"{tmp_path.name}: process {holder.pid} on .*, since .* is at work there; "):
        Lock(tmp_path).take()
    with pytest.raises(FolderInUse):
        run_folder.claim(tmp_path, config.load("lab"))
    assert not (tmp_path / "config.yaml").exists()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with Lock(tmp_path):
        assert (tmp_path / NAME).read_text().startswith(f"process {os.getpid()} ")
    assert list(tmp_path.iterdir()) == []


def test_it_is_given_back_and_taken_again(tmp_path):
    first, second = Lock(tmp_path), Lock(tmp_path)
    first.take()
    with pytest.raises(FolderInUse):
        second.take()
    first.release()
    first.release()
    second.take()
    second.release()
    assert list(tmp_path.iterdir()) == []


def test_that_of_a_file_lies_beside_it(tmp_path):
    out = tmp_path / "pairs.jsonl"
    with Lock(out):
        assert (tmp_path / f".pairs.jsonl{NAME}").is_file()
        with pytest.raises(FolderInUse, match=r"pairs\.jsonl"):
            Lock(out).take()


def test_one_that_was_taken_away_while_it_was_opened_is_made_anew(tmp_path, monkeypatch):
    """Whoever held it ended between our opening the file and our locking it."""
    real, gone = lock._lock_file, []

    def late(file):
        if not gone:
            gone.append((tmp_path / NAME).unlink())
        real(file)

    monkeypatch.setattr(lock, "_lock_file", late)
    with Lock(tmp_path), pytest.raises(FolderInUse):
        Lock(tmp_path).take()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_child_does_not_keep_it(tmp_path):
    """A worker of a reward may outlive the run that was killed."""
    held = Lock(tmp_path)
    held.take()
    wait, go = os.pipe()
    look, ready = os.pipe()
    child = os.fork()
    if not child:
        os.close(go)
        os.write(ready, b".")
        os.read(wait, 1)
        os._exit(0)
    os.read(look, 1)
    with pytest.raises(FolderInUse):
        Lock(tmp_path).take()
    held._file.close()  # as the system does for a process that ends
    with Lock(tmp_path):
        pass
    os.close(go)
    os.waitpid(child, 0)


def test_where_there_are_no_locks_it_is_said_and_nothing_refused(tmp_path, monkeypatch):
    def none(file):
        raise OSError(errno.ENOLCK, "No locks available")

    said = []
    monkeypatch.setattr(lock, "_lock_file", none)
    with Lock(tmp_path, said.append), Lock(tmp_path, said.append):
        assert "its file system has no locks (No locks available); see that no other process works there" in said[1]
    assert len(said) == 2


def test_of_claims_at_the_same_moment_one_alone_wins(tmp_path):
    settings, won, refused = config.load("lab"), [], []
    for number in range(20):
        together = threading.Barrier(4)

        def claim(out=tmp_path / str(number), together=together):
            together.wait()
            try:
                won.append(run_folder.claim(out, settings))
            except (RunFolderTaken, FolderInUse) as error:
                refused.append(error)

        threads = [threading.Thread(target=claim) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(folder.path.name for folder in won) == sorted(map(str, range(20)))
    assert len(refused) == 60


def test_what_a_killed_claim_left_behind_blocks_nothing(tmp_path):
    for name in (".config.yaml.partial", NAME):
        (tmp_path / name).write_text("half")
    folder = run_folder.claim(tmp_path, config.load("lab"))
    assert folder.settings() == config.load("lab")
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.yaml"]
    with pytest.raises(RunFolderTaken, match="holds another run"):
        run_folder.claim(tmp_path, config.load("lab"))


@pytest.mark.parametrize("kind", ["file", "below a file", "full"])
def test_what_cannot_be_taken_is_told_before_anything_is_loaded(tmp_path, kind):
    taken = tmp_path / "taken"
    if kind == "full":
        taken.mkdir()
        (taken / "thesis.tex").touch()
    else:
        taken.touch()
    with pytest.raises(UsageError, match=r"not empty \(it holds thesis\.tex\)|is a file\); give another"):
        run_folder.check_free(taken / "inner" if kind == "below a file" else taken)
    assert not (taken / NAME).exists()


def test_a_folder_that_was_never_there_is_no_run(tmp_path):
    with pytest.raises(UsageError, match="holds no run"):
        RunFolder(tmp_path / "none").settings()


@pytest.mark.parametrize(
    "command",
    [
        lambda out: job.run(None, out, resume=True),
        lambda out: job.headroom(None, out, resume=True),
        lambda out: job.evaluate_again(out, []),
        lambda out: fine_tune(None, out, resume=True),
    ],
    ids=["run", "headroom", "evaluate", "rlhf"],
)
def test_every_command_that_works_in_a_folder_is_refused_at_once(tmp_path, holder, command, monkeypatch):
    (tmp_path / "config.yaml").write_text(config.dump(config.load("lab")))
    (tmp_path / "prompter").mkdir()
    (tmp_path / "prompter" / "config.json").touch()
    monkeypatch.setattr("alignpro.running.load.load", lambda *_, **__: pytest.fail("models are loaded"))
    with pytest.raises(FolderInUse, match=f"process {holder.pid} on"):
        command(tmp_path)
