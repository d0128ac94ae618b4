"""All programs solve the same problem, and the roofline counts the right products."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.engine.cases import CONV, MNIST, Case, Net
from benchmarks.engine.images import image_file
from benchmarks.engine.nets import loss, make_nets
from benchmarks.engine.programs import PROGRAMS, Enough, Job, ours, products
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import elboroom

TINY = Net((4, 4, 1), (8,), 2)
ROOT = Path(__file__).parents[2]

needs_jax = pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="jax, a rival, is not here")
needs_pythae = pytest.mark.skipif(
    not importlib.util.find_spec("pythae"), reason="pythae, a rival, is not here"
)


def noiseless(net: Net) -> tuple[nn.Module, nn.Module, Tensor]:
    """Nets whose codes have a standard deviation of e^−40, and images for them."""
    torch.manual_seed(0)
    encoder, decoder = make_nets(net)
    last = [layer for layer in encoder.modules() if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        last.weight[net.latent_dim :] = 0
        last.bias[net.latent_dim :] = -80
    height, width, channels = net.shape
    return encoder, decoder, torch.rand(6, channels, height, width)


@pytest.mark.parametrize("net", [TINY, Net(MNIST, (400, 400), 20), CONV], ids=lambda net: net.title)
def test_nets_are_those_of_elboroom(net: Net) -> None:
    kind: dict[str, Any] = {"hidden": net.hidden} if net.hidden else {"network": "conv"}
    vae = elboroom.VAE.build(shape=net.shape, latent_dim=net.latent_dim, **kind)
    theirs = [p.shape for part in make_nets(net) for p in part.parameters()]
    assert theirs == [p.shape for part in (vae.encoder, vae.decoder) for p in part.parameters()]


def test_the_loss_is_that_of_elboroom() -> None:
    encoder, decoder, x = noiseless(TINY)
    vae = elboroom.VAE.build(
        shape=TINY.shape, latent_dim=2, hidden=TINY.hidden, posterior_scale="exp", scale=1.0
    )
    for ours_, theirs in ((vae.encoder, encoder), (vae.decoder, decoder)):
        ours_.load_state_dict(dict(zip(ours_.state_dict(), theirs.state_dict().values(), strict=True)))
    vae.posterior.min_scale = 0.0  # it would be larger than the scale itself
    terms = vae(x.permute(0, 2, 3, 1))
    # float32 sums over 16 pixels in another order.
    assert loss(encoder, decoder, x).item() == pytest.approx(
        (terms.distortion + terms.rate).mean().item(), rel=1e-5
    )


@needs_pythae
def test_the_loss_is_that_of_pythae() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is old
        from benchmarks.engine.programs import rival_pythae
    encoder, decoder, x = noiseless(TINY)
    model = rival_pythae._model(TINY)
    model.encoder.net.load_state_dict(encoder.state_dict())
    model.decoder.net.load_state_dict(decoder.state_dict())
    # float32, from probabilities instead of logits.
    assert model({"data": x}).loss.item() == pytest.approx(loss(encoder, decoder, x).item(), rel=1e-5)


@needs_jax
def test_steps_of_adam_in_jax_are_those_of_torch() -> None:
    import jax
    import jax.numpy as jnp
    from benchmarks.engine.programs import rival_jax

    encoder, decoder, x = noiseless(TINY)
    x = (x * 255).floor()
    linear = [[m for m in net.modules() if isinstance(m, nn.Linear)] for net in (encoder, decoder)]
    params = [
        [(jnp.asarray(m.weight.detach().numpy().T), jnp.asarray(m.bias.detach().numpy())) for m in layers]
        for layers in linear
    ]
    zeros = [jax.tree.map(jnp.zeros_like, params) for _ in range(2)]
    state = (params, *zeros, jnp.zeros(()), jax.random.key(0))
    order = np.array([[0, 1, 2], [3, 4, 5], [5, 0, 3]])
    images = jnp.asarray(x.flatten(1).numpy().astype(np.uint8))
    state, _ = rival_jax._epoch(state, images, jnp.asarray(order), 2)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    for rows in order:
        optimizer.zero_grad()
        loss(encoder, decoder, x[rows] / 255).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    for layers, theirs in zip(linear, state[0], strict=True):
        for layer, (weight, bias) in zip(layers, theirs, strict=True):
            # A hundredth of one step of 1e-3: both are float32, and Adam divides small by small.
            np.testing.assert_allclose(weight.T, layer.weight.detach().numpy(), atol=1e-5)
            np.testing.assert_allclose(bias, layer.bias.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("net", [Net((4, 4, 1), (8, 6), 2), Net((16, 16, 3), (), 4)], ids=["mlp", "conv"])
def test_products_are_those_that_torch_counts(net: Net) -> None:
    case = Case("tiny", "mlp", "train", net, batch=3, examples=3)
    found, parameters = products.products_of(case, (torch.float32,), "cpu")
    encoder, decoder = make_nets(net)
    height, width, channels = net.shape
    with FlopCounterMode(display=False) as counter:
        loss(encoder, decoder, torch.rand(3, channels, height, width)).backward()  # type: ignore[no-untyped-call]
    assert sum(product.flops for product in found) == counter.get_total_flops()
    assert parameters == sum(p.numel() for part in (encoder, decoder) for p in part.parameters())


def test_decoding_and_encoding_have_products_forwards_only() -> None:
    for task, flops in (("nll", 2 * 4000 * (2 * 8 + 8 * 16)), ("embed", 2 * 1000 * (16 * 8 + 8 * 4))):
        case = Case("tiny", task, task, TINY)  # type: ignore[arg-type]
        found, _ = products.products_of(case, (torch.float32,), "cpu")
        assert sum(product.flops for product in found) == flops


def test_a_piece_of_ours_is_an_epoch(tmp_path: Path) -> None:
    case = Case("tiny", "mlp", "train", TINY, batch=8, examples=40)
    pieces = []

    def done(images: int, seconds: float, **further: float) -> None:
        pieces.append((images, seconds))
        if len(pieces) == 2:
            raise Enough

    job = Job(case, str(image_file(tmp_path, TINY.shape, 40)), "cpu", "elboroom")
    with pytest.raises(Enough):
        ours.train(job, 20, done)
    assert [images for images, _ in pieces] == [24, 24]  # three whole batches
    assert all(seconds > 0 for _, seconds in pieces)


def test_images_are_written_once_and_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.engine.images._BLOCK", 2)
    path = image_file(tmp_path, (28, 28, 1), 5)
    images = np.load(path)
    assert images.shape == (5, 28, 28, 1)
    assert images.dtype == np.uint8
    assert np.array_equal(images, images[[0, 1, 0, 1, 0]])
    before = path.stat().st_mtime_ns
    assert image_file(tmp_path, (28, 28, 1), 5).stat().st_mtime_ns == before


def test_other_programs_run_without_our_engine() -> None:
    """What elboroom tunes for the whole process must not help them."""
    code = (
        "import sys; from benchmarks.engine.programs import plain; from benchmarks.engine.cases import CONV;"
        "plain.make_nets(CONV); print('elboroom.training' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_program_has_its_module() -> None:
    for module, _ in PROGRAMS.values():
        assert (ROOT / "benchmarks" / "engine" / "programs" / f"{module}.py").exists()
