"""Whole volumes against patches: the patches cover everything, and are cut where they should be."""

import pytest
import torch
from patch_gap import decided, in_patches, starts


@pytest.mark.parametrize("size, patch", [(9, 4), (8, 4), (4, 4), (3, 4), (17, 5)])
def test_every_voxel_lies_in_a_patch_that_is_inside_the_volume(size, patch):
    covered = {voxel for start in starts(size, patch) for voxel in range(start, start + patch)}
    assert covered >= set(range(size))
    assert all(start + patch <= max(size, patch) for start in starts(size, patch))


def test_a_network_without_reach_scores_the_same_and_one_with_reach_does_not():
    torch.manual_seed(0)
    volume = torch.randn(2, 9, 7, 8)
    pointwise = torch.nn.Conv3d(2, 3, 1).eval()
    torch.testing.assert_close(in_patches(pointwise, volume, (4, 4, 4)), pointwise(volume[None])[0])
    reaching = torch.nn.Conv3d(2, 3, 5, padding=2).eval()
    assert not torch.allclose(in_patches(reaching, volume, (4, 4, 4)), reaching(volume[None])[0])


def test_nested_regions_overlap_and_classes_do_not():
    logits = torch.tensor([0.2, 3.0, 1.0]).reshape(3, 1, 1, 1)
    assert decided(logits, nested=True).flatten().tolist() == [1, 1, 1]
    assert decided(logits, nested=False).flatten().tolist() == [1, 0]
