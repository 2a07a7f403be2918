"""Where data files are looked for, how they are checked, downloaded and kept."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import lzma
import os
import sys
import tarfile
import threading

import numpy as np
import pytest

from dd2424.data import DataError, cifar10, data_dir, fashion_mnist, mnist
from dd2424.data.cache import Content, Source, user_cache_dir
from dd2424.data.download import Download

CONTENT = {"a": b"alpha" * 50, "b": b"beta"}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def source(downloads=(), archive="set.tar.gz"):
    contents = {name: Content(len(data), sha256(data)) for name, data in CONTENT.items()}
    return Source("set", ("set", "Set/raw"), contents, tuple(downloads), archive)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty data folder and an empty cache."""
    monkeypatch.setenv("DD2424_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data/set").mkdir(parents=True)
    return tmp_path / "data"


@pytest.fixture
def server():
    """Files by HTTP from the loopback interface: `files` of path to bytes, `asked` of paths."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            content = files.get(self.path)
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *arguments):
            pass

    files, asked = {}, []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", files, asked
        running.shutdown()
        thread.join()


def tar(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("DD2424_DATA", raising=False)
    assert data_dir() == tmp_path / "dd2424/data"
    monkeypatch.setenv("DD2424_DATA", "~/somewhere")
    assert data_dir().name == "somewhere"
    assert "~" not in str(data_dir())
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert user_cache_dir().parts[-2:] == (".cache", "dd2424")


@pytest.mark.parametrize("folder", ["set", "Set/raw"])
@pytest.mark.parametrize(("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)])
def test_any_packing_of_the_right_bytes(home, folder, suffix, pack):
    (home / folder).mkdir(parents=True, exist_ok=True)
    for name, content in CONTENT.items():
        (home / folder / (name + suffix)).write_bytes(pack(content))
    assert source().read(["b", "a"], download=False) == [CONTENT["b"], CONTENT["a"]]


@pytest.mark.parametrize("place", ["set.tar.gz", "set/set.tar.gz"])
def test_an_archive(home, place):
    (home / place).write_bytes(tar({f"set/{name}": content for name, content in CONTENT.items()}))
    assert source().read(["a", "b"], download=False) == list(CONTENT.values())
    (home / "set/b").write_bytes(CONTENT["b"])  # a single file comes first
    assert source().find("b").name == "b"
    assert source().read(["a", "b"], download=False) == list(CONTENT.values())


def test_what_is_missing_is_said(home):
    (home / "set/b").write_bytes(CONTENT["b"])
    assert not source().has(["a", "b"])
    with pytest.raises(DataError) as caught:
        source([Download(("http://x/set.tar.gz",), "set.tar.gz", "0")]).read(["a", "b"], download=False)
    message = str(caught.value)
    assert message.startswith(
        f"set: a must be in {home}/set (plain, .gz or .xz), or set.tar.gz in {home}, got no such file"
    )
    assert message.endswith("Put it there (from http://x/set.tar.gz), or set DD2424_DATA to the folder that has set/")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a", CONTENT["a"][:-1], "must hold 250 bytes uncompressed, got 249"),
        ("a", CONTENT["a"] + b"x", "must hold 250 bytes uncompressed, got more than 250"),
        ("a", b"Alpha" * 50, f"must hold bytes of SHA-256 {sha256(CONTENT['a'])}, got .*not the published one"),
        ("a.gz", gzip.compress(CONTENT["a"])[:-5], "must be a whole .gz file, got one cut short"),
        ("a.xz", lzma.compress(bytes(10**6)), "must hold 250 bytes uncompressed, got more than 250"),
        ("set.tar.gz", tar({"set/b": b""}), "must hold set/a, got an archive without"),
        ("set.tar.gz", tar({"set/a": b"x"}), "a in .*set.tar.gz must hold 250 bytes"),
        ("set.tar.gz", b"junk", "must be a whole .tar.gz file"),
    ],
    ids=["short", "long", "other bytes", "cut short", "long when unpacked", "without", "short in an archive", "junk"],
)  # names that do not hold the time of day, which archives do
def test_damaged_files(home, name, content, message):
    (home / "set" / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"^set: .*{message}.*; replace the file$"):
        source().read(["a"], download=False)


def test_a_file_that_may_not_be_read(home):
    (home / "set/a").mkdir()  # not a file at all
    with pytest.raises(DataError, match="got no such file"):
        source().read(["a"], download=False)


def kept(home):
    return sorted((home.parent / "cache/dd2424/unpacked").glob("*"))


def test_slowly_unpacked_files_are_kept(home, monkeypatch):
    (home / "set/a.xz").write_bytes(lzma.compress(CONTENT["a"]))
    assert source().read(["a"]) == [CONTENT["a"]]
    (copy,) = kept(home)
    monkeypatch.setattr(lzma, "open", lambda path: pytest.fail("unpacked again"))
    assert source().read(["a"]) == [CONTENT["a"]]
    monkeypatch.undo()
    monkeypatch.setenv("DD2424_DATA", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home.parent / "cache"))
    copy.write_bytes(b"tampered")
    assert source().read(["a"]) == [CONTENT["a"]]
    assert copy.read_bytes() == CONTENT["a"]


def test_a_cache_that_cannot_be_written_is_no_error(home):
    (home.parent / "cache").write_bytes(b"a file where a folder should be")
    (home / "set/a.xz").write_bytes(lzma.compress(CONTENT["a"]))
    assert source().read(["a"]) == [CONTENT["a"]]


def test_a_download_is_checked_and_put_in_its_place(home, server):
    url, files, asked = server
    packed = gzip.compress(CONTENT["a"])
    files["/a.gz"] = packed
    wanted = [
        Download((f"{url}/gone/a.gz", f"{url}/a.gz"), "set/a.gz", sha256(packed), ("a",)),
        Download((f"{url}/b.gz",), "set/b.gz", "0", ("b",)),
    ]
    assert source(wanted, archive=None).read(["a"]) == [CONTENT["a"]]
    assert asked == ["/gone/a.gz", "/a.gz"]  # the second mirror; nothing for b, which is not asked for
    assert source(wanted, archive=None).read(["a"]) == [CONTENT["a"]]
    assert len(asked) == 2


def test_an_archive_is_downloaded_once(home, server):
    url, files, asked = server
    files["/set.tar.gz"] = tar({f"set/{name}": content for name, content in CONTENT.items()})
    wanted = [Download((f"{url}/set.tar.gz",), "set.tar.gz", sha256(files["/set.tar.gz"]))]
    assert source(wanted).read(["a", "b"]) == list(CONTENT.values())
    assert asked == ["/set.tar.gz"]


def test_a_wrong_download_leaves_nothing(home, server):
    url, files, _ = server
    files["/a.gz"] = b"another file"
    wanted = [Download((f"{url}/a.gz",), "set/a.gz", "0" * 64, ("a",))]
    with pytest.raises(DataError, match=rf"^set: a must be in .* and the download failed \({url}/a.gz: .*hash"):
        source(wanted).read(["a"])
    assert [p for p in home.rglob("*") if p.is_file()] == []


def test_offline(home):
    wanted = [Download(("http://127.0.0.1:9/a.gz",), "set/a.gz", "0" * 64, ("a",))]
    with pytest.raises(
        DataError, match=r"the download failed \(http://127.0.0.1:9/a.gz: .*\)\. Put it there \(from http"
    ):
        source(wanted).read(["a"])


def test_without_pooch(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(DataError, match=r"downloading needs pooch \(pip install 'dd2424\[labs\]'\)"):
        source([Download(("http://127.0.0.1:9/a",), "set/a", "0")]).read(["a"])


@pytest.mark.parametrize(
    ("load", "folder"), [(mnist, "mnist"), (fashion_mnist, "fashion-mnist"), (cifar10, "cifar-10-batches-py")]
)
def test_missing_sets_say_what_to_put_where(home, load, folder):
    with pytest.raises(
        DataError, match=f"must be in {home / folder} .*or set DD2424_DATA to the folder that has {folder}/"
    ):
        load(download=False)
    with pytest.raises(ValueError, match="split must be one of train, validation, test, got 'all'"):
        load("all")


def test_a_tampered_set_is_refused(home):
    folder = home / "cifar-10-batches-bin"
    folder.mkdir()
    (folder / "test_batch.bin").write_bytes(bytes(30_730_000))
    with pytest.raises(DataError, match="must hold bytes of SHA-256 8e2eb146"):
        cifar10("test", download=False)


REAL = os.environ.get("DD2424_DATA")
needs = {name: pytest.mark.skipif(not REAL or not os.path.isdir(f"{REAL}/{name}"), reason=f"DD2424_DATA has no {name}")
         for name in ("mnist", "fashion-mnist", "cifar-10-batches-py")}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("load", "mean", "std"),
    [
        pytest.param(mnist, [0.1307], [0.3081], marks=needs["mnist"]),
        pytest.param(fashion_mnist, [0.2860], [0.3530], marks=needs["fashion-mnist"]),
        pytest.param(cifar10, [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616], marks=needs["cifar-10-batches-py"]),
    ],
)
def test_the_real_sets_have_their_published_statistics(load, mean, std):
    train, test = load(), load("test")
    assert len(test) == 10_000
    assert np.bincount(train.labels).sum() == len(train) == (50_000 if load is cifar10 else 60_000)
    measured = train.statistics("channel")
    np.testing.assert_allclose(measured[0].ravel(), mean, atol=5e-5)
    np.testing.assert_allclose(measured[1].ravel(), std, atol=5e-5)
    assert len(load("validation", validation=1000)) == 1000


@pytest.mark.slow
@needs["cifar-10-batches-py"]
def test_batches_of_cifar10_by_number():
    second = cifar10([2])
    assert len(second) == 10_000
    np.testing.assert_array_equal(second.labels, cifar10().labels[10_000:20_000])
    with pytest.raises(ValueError, match=r"batches must be numbers from 1 to 5, got \[6\]"):
        cifar10([6])
