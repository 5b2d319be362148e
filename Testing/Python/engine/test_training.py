"""The training loop: it learns, resumes where it stopped, and averages; and what augmentation does to a sample."""

import json
import math

import pytest
import torch

from afnet.learning.augmentation import (
    averaged,
    coarser,
    random_affine,
    random_patch,
    resample,
    smooth_field,
    uniform,
    vary_ct,
    vary_mr,
)
from afnet.learning.losses import region_loss
from afnet.learning.training import Schedule, Training, norms_of, reestimate_norms
from afnet.networks import AutofocusNetwork, NetworkPlan


def network(seed=0) -> AutofocusNetwork:
    torch.manual_seed(seed)
    return AutofocusNetwork(NetworkPlan("AFN-1", 1, 1, (4,) * 8))


def sample(generator: torch.Generator):
    """A bright ball to find, in noise."""
    axes = torch.meshgrid(*[torch.arange(10.0)] * 3, indexing="ij")
    centre = [3 + 4 * torch.rand(1, generator=generator).item() for _ in range(3)]
    inside = (sum((a - c) ** 2 for a, c in zip(axes, centre)) < 9).float()[None]
    return inside + 0.1 * torch.randn(inside.shape, generator=generator), inside, torch.ones_like(inside)


def training(folder, seed=0, **schedule) -> Training:
    return Training(network(), region_loss, sample, Schedule(**{"minutes": 100.0} | schedule), folder, seed=seed)


def test_loss_falls_and_the_average_follows(tmp_path):
    run = training(tmp_path, learning_rate=1e-2)
    losses = [run._step().item() for _ in range(40)]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    channels, truth, weight = sample(torch.Generator().manual_seed(9))
    reestimate_norms(run.average, [channels])
    with torch.inference_mode():
        found = region_loss(run.average.eval()(channels[None]), truth[None], weight[None]).item()
    assert found < 0.7 * losses[0]


def test_a_step_without_autocast_asks_for_none(tmp_path, monkeypatch):
    """Torch below 2.5 refuses it on MPS, even switched off."""
    def refuse(*_, **__):
        raise RuntimeError("User specified an unsupported autocast device_type 'mps'")

    monkeypatch.setattr(torch, "autocast", refuse)
    run = training(tmp_path)
    run._step()
    run.autocast = True
    with pytest.raises(RuntimeError, match="unsupported"):
        run._step()


def test_a_resumed_training_goes_on_where_it_stopped(tmp_path):
    """Same weights, optimiser, random numbers and clock: the next steps are those of a run that never stopped."""
    whole = training(tmp_path / "whole")
    for _ in range(3):
        whole._step()
    whole.seconds = 77.0
    whole.save()
    expected = [whole._step().item() for _ in range(2)]

    resumed = Training(network(seed=5), region_loss, sample, Schedule(100.0), tmp_path / "whole", seed=99)
    assert resumed.resume()
    assert (resumed.step, resumed.seconds) == (3, 77.0)
    assert [resumed._step().item() for _ in range(2)] == pytest.approx(expected, rel=1e-6)
    for name, tensor in whole.average.state_dict().items():
        torch.testing.assert_close(tensor, resumed.average.state_dict()[name])


def test_nothing_to_resume(tmp_path):
    assert not training(tmp_path).resume()


def test_run_ends_by_the_clock_and_keeps_a_log(tmp_path, capsys):
    run = training(tmp_path, minutes=0.5 / 60, checkpoint_minutes=0.0)
    run.run(on_checkpoint=lambda state: {"dice": 0.5})
    assert run.seconds >= 0.5
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == run.step and lines[-1]["dice"] == 0.5 and math.isfinite(lines[-1]["loss"])
    assert run.checkpoint_file.exists() and not list(tmp_path.glob("*.part"))
    assert json.loads((tmp_path / "schedule.json").read_text())["minutes"] == pytest.approx(0.5 / 60)
    step = run.step
    run.run()
    assert run.step == step, "the time is used up"


def test_learning_rate_warms_up_and_falls_as_a_cosine(tmp_path):
    run, rates = training(tmp_path, learning_rate=0.1), []
    for step, minutes in ((0, 0), (100, 0), (100, 50), (100, 100)):
        run.step, run.seconds = step, 60.0 * minutes
        run._step()
        rates.append(run.optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1 / 20, 0.1, 0.05, 0.1e-3], rel=1e-6)


def test_batches_and_gradient_clipping(tmp_path):
    drawn = []

    def counting(generator):
        drawn.append(1)
        return sample(generator)

    run = Training(network(), region_loss, counting, Schedule(100.0, batch=3, gradient_norm=1e-3), tmp_path)
    run._step()
    norm = torch.stack([p.grad.norm() for p in run.network.parameters() if p.grad is not None]).norm().item()
    assert len(drawn) == 3 and norm <= 1.01e-3


def test_average_is_a_running_mean_of_weights_and_statistics(tmp_path):
    run = training(tmp_path)
    before = {name: tensor.clone() for name, tensor in run.average.state_dict().items()}
    run._step()
    decay = (1 + 1) / (10 + 1)
    for name, tensor in run.average.state_dict().items():
        current = run.network.state_dict()[name]
        if tensor.dtype.is_floating_point:
            torch.testing.assert_close(tensor, decay * before[name] + (1 - decay) * current)
        else:
            assert torch.equal(tensor, current)
    assert not any(parameter.requires_grad for parameter in run.average.parameters())


def test_norms_are_estimated_over_whole_volumes():
    net = network()
    generator = torch.Generator().manual_seed(3)
    volumes = [torch.randn(1, 6, 7, 8, generator=generator) * scale + 1 for scale in (1, 3)]
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.fill_(99)
    reestimate_norms(net, volumes)
    first = net.stem[0]
    with torch.no_grad():
        outputs = [torch.nn.functional.conv3d(v[None], first.weight, first.bias, padding=1) for v in volumes]
    expected = torch.stack([out.mean((0, 2, 3, 4)) for out in outputs]).mean(0)
    torch.testing.assert_close(first.norm.running_mean, expected)
    variance = torch.stack([out.transpose(0, 1).flatten(1).var(1) for out in outputs]).mean(0)
    torch.testing.assert_close(first.norm.running_var, variance)
    assert not net.training and first.norm.momentum == 0.1


def statistics(net) -> list[torch.Tensor]:
    return [part.clone() for norm in norms_of(net) for part in (norm.running_mean, norm.running_var)]


def test_frozen_norms_make_training_see_what_inference_sees(tmp_path):
    """From then on the loss of a step is that of the network in evaluation mode, and the statistics stay."""
    run = training(tmp_path)
    volumes = [sample(run.generator)[0] for _ in range(2)]
    run.freeze_norms(volumes)
    before = statistics(run.network)
    for a, b in zip(before, statistics(run.average)):
        torch.testing.assert_close(a, b)
    state = run.generator.get_state()
    channels, truth, weight = sample(run.generator)
    with torch.inference_mode():
        expected = region_loss(run.network.eval()(channels[None]), truth[None], weight[None]).item()
    run.generator.set_state(state)
    assert run._step() == pytest.approx(expected, rel=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(before, statistics(run.network)))
    run.freeze_norms([volume + 5 for volume in volumes])
    assert all(torch.equal(a, b) for a, b in zip(before, statistics(run.network))), "they are taken once"


def test_frozen_norms_stay_frozen_after_a_resume(tmp_path):
    run = training(tmp_path)
    run.freeze_norms([sample(run.generator)[0]])
    run.save()
    resumed = training(tmp_path)
    resumed.resume()
    before = statistics(resumed.network)
    resumed._step()
    assert resumed.norms_frozen and all(torch.equal(a, b) for a, b in zip(before, statistics(resumed.network)))


# Augmentation


def rng(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_resampling_without_a_turn_is_a_cut():
    volume = torch.rand(2, 9, 10, 11, generator=rng())
    patch = resample(volume, torch.eye(3), torch.tensor([4.0, 5.0, 6.0]), (3, 5, 5))
    torch.testing.assert_close(patch, volume[:, 3:6, 3:8, 4:9], rtol=0, atol=1e-5)


def test_resampling_mirrors_and_turns_the_axes_it_is_told():
    volume = torch.rand(1, 7, 7, 7, generator=rng())
    centre = torch.full((3,), 3.0)
    mirrored = resample(volume, torch.diag(torch.tensor([1.0, 1, -1])), centre, (7, 7, 7))
    torch.testing.assert_close(mirrored, volume.flip(3), rtol=0, atol=1e-5)
    swapped = resample(volume, torch.eye(3)[[1, 0, 2]], centre, (7, 7, 7))
    torch.testing.assert_close(swapped, volume.transpose(1, 2), rtol=0, atol=1e-5)


def test_resampling_moves_each_point_by_its_displacement():
    volume, centre = torch.rand(1, 9, 9, 9, generator=rng()), torch.full((3,), 4.0)
    displacement = torch.tensor([1.0, 0, -2]).view(3, 1, 1, 1).expand(3, 3, 3, 3)
    moved = resample(volume, torch.eye(3), centre, (3, 3, 3), displacement)
    torch.testing.assert_close(moved, volume[:, 4:7, 3:6, 1:4], rtol=0, atol=1e-5)


PLACES = torch.stack(torch.meshgrid(*[torch.arange(40.0)] * 3, indexing="ij"))
"""A volume whose three channels say where a voxel lies (z, y, x)."""


@pytest.mark.parametrize("mirror,zoom", [(True, 2.0), (False, 1.0)])
def test_a_random_patch_is_turned_a_little_scaled_and_perhaps_mirrored_around_its_centre(mirror, zoom):
    centre, flips = torch.tensor([19.0, 21, 18]), []
    for seed in range(40):
        seen = random_patch(PLACES, centre, (5, 5, 5), rng(seed), mirror, zoom)
        torch.testing.assert_close(seen[:, 2, 2, 2], centre, rtol=0, atol=1e-3)
        columns = [seen[:, 4, 2, 2], seen[:, 2, 4, 2], seen[:, 2, 2, 4]]
        turn = (torch.stack(columns, dim=1) - centre[:, None]) / (2 * zoom)
        assert (abs(turn.norm(dim=0) - 1) <= 0.12 + 1e-3).all()
        assert (turn.diagonal()[:2] > 0.8).all() and turn[2, 2].abs() > 0.8, "left and right alone are exchanged"
        flips.append(bool(turn[2, 2] < 0))
    assert 10 <= sum(flips) <= 30 if mirror else not any(flips)


def test_half_of_the_patches_are_bent():
    centre = torch.tensor([19.0, 19, 19])
    bends = []
    for seed in range(40):
        seen = random_patch(PLACES, centre, (9, 9, 9), rng(seed), elastic=1.5)
        second = seen[:, 2:] - 2 * seen[:, 1:-1] + seen[:, :-2]  # 0 of what is turned and scaled alone
        bends.append(second.abs().max().item())
    assert 10 <= sum(bend > 0.05 for bend in bends) <= 30 and sum(bend < 1e-3 for bend in bends) >= 10
    assert max(bends) < 6 * 1.5


def test_beyond_the_volume_is_zero():
    patch = resample(torch.ones(1, 5, 5, 5), torch.eye(3), torch.tensor([0.0, 2.0, 2.0]), (5, 5, 5))
    torch.testing.assert_close(patch[0, :, 2, 2], torch.tensor([0.0, 0, 1, 1, 1]), rtol=0, atol=1e-5)


def test_random_matrix_is_a_rotation_and_a_scale():
    for seed in range(20):
        matrix = random_affine(rng(seed), 15, 0.12)
        scales = torch.linalg.norm(matrix, dim=0)
        turn = matrix / scales
        torch.testing.assert_close(turn.T @ turn, torch.eye(3), rtol=0, atol=1e-5)
        assert torch.det(turn) > 0 and (scales >= 0.88 - 1e-6).all() and (scales <= 1.12 + 1e-6).all()
        angle = math.degrees(math.acos(min(1.0, (torch.trace(turn).item() - 1) / 2)))
        assert angle <= 15 * 3
    assert torch.equal(random_affine(rng(1), 0, 0), torch.eye(3))


def test_varied_images_stay_zero_outside_and_repeat_with_the_seed():
    channels = torch.randn(4, 12, 13, 14, generator=rng(1))
    channels[:, :3] = 0
    results = [vary_mr(channels, rng(seed)) for seed in (0, 0, 1)]
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
    for seed in range(12):
        varied = vary_mr(channels, rng(seed))
        assert varied.shape == channels.shape and torch.isfinite(varied).all()
        assert (varied[:, :3] == 0).all() and (varied[:, 3:] != channels[:, 3:]).float().mean() > 0.9
        assert torch.corrcoef(torch.stack([varied[0].flatten(), channels[0].flatten()]))[0, 1] > 0.4


def test_ct_varies_by_one_number_of_hu_in_every_window():
    """And what lies beyond a window stays beyond it."""
    windows = [(-1000.0, 1000.0), (-160.0, 240.0)]
    hu = torch.full((24, 21, 22), 40.0)
    hu[:6], hu[18:] = -2000, 2000
    channels = torch.stack([((hu - low) / (high - low)).clamp(0, 1) for low, high in windows])
    means, spreads = [], []
    for seed in range(30):
        varied = vary_ct(channels, windows, rng(seed))
        assert (varied[:, :2] == 0).all() and (varied[:, 22:] == 1).all()
        wide, narrow = ((x - 40 / (high - low) + low / (high - low))[12] * (high - low)
                        for x, (low, high) in zip(varied, windows))
        torch.testing.assert_close(wide, narrow, rtol=0, atol=0.01)
        means.append(wide.mean().item())
        spreads.append(wide.std().item())
    assert -18 < min(means) < -8 and 8 < max(means) < 18, "15 HU either way"
    assert min(spreads) < 4 and 6 < sorted(spreads)[15] < 14 and 15 < max(spreads) < 21, "up to 20 HU of noise"


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("factor", [2, 3])
def test_averaging_acts_along_its_axis_alone(axis, factor):
    """Means of `factor` voxels: of waves that long nothing is left, and across them all stays."""
    wave = torch.tensor([factor - 1.0, *[-1.0] * (factor - 1)]).repeat(4)
    shape = [1, 1, 1]
    shape[axis] = len(wave)
    along = wave.view(shape).expand([len(wave)] * 3)[None]
    assert averaged(along, axis, factor).abs().max() < 1e-6
    torch.testing.assert_close(averaged(along, (axis + 1) % 3, factor), along)


def test_coarser_keeps_the_mean_and_loses_detail():
    x = torch.randn(1, 12, 12, 12, generator=rng())
    result = coarser(x, rng(2))
    assert result.shape == x.shape and abs(result.mean() - x.mean()) < 0.05 and result.std() < 0.8 * x.std()


def test_uniform_and_field_stay_in_their_range():
    generator = rng()
    values = [uniform(generator, -2, 3) for _ in range(500)]
    assert -2 <= min(values) < -1.9 and 2.9 < max(values) < 3
    field = smooth_field(generator, (16, 16, 16), 0.2)
    assert field.shape == (1, 16, 16, 16) and 0.05 < field.std() < 0.3
    assert (field.diff(dim=3).abs().max() < 0.3) and field.diff(dim=3).abs().max() > 0
