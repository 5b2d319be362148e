"""The crossing between numpy and torch: values, types and shapes survive both ways, without torch's numpy bridge."""

import numpy as np
import pytest
import torch

from afnet.tensors import to_numpy, to_torch


@pytest.fixture(autouse=True)
def no_bridge(monkeypatch):
    """As on macOS: torch 2.2 beside numpy 2."""

    def refuse(*_, **__):
        raise RuntimeError("Numpy is not available")

    monkeypatch.setattr(torch, "from_numpy", refuse)
    monkeypatch.setattr(torch.Tensor, "numpy", refuse)
    monkeypatch.setattr(torch.Tensor, "__array__", refuse)


ARRAYS = {
    "float32": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "float64": np.linspace(0, 1, 5),
    "uint8": np.arange(3, dtype=np.uint8),
    "int16": np.array([[-5, 7]], np.int16),
    "int64": np.array([2**40]),
    "scalar": np.array(3.5, np.float32),
    "empty": np.zeros((0, 3), np.float32),
    "strided": np.arange(24.0).reshape(4, 6)[::2, ::-1],
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "big-endian": np.array([1.5, -2], ">f4"),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_there_and_back(array):
    tensor = to_torch(array)
    assert tuple(tensor.shape) == array.shape and tensor.tolist() == array.tolist()
    back = to_numpy(tensor)
    assert back.dtype == array.dtype.newbyteorder("=") and back.shape == array.shape
    np.testing.assert_array_equal(back, array)


def test_read_only_array_is_copied():
    array = np.arange(4.0)
    array.flags.writeable = False
    to_torch(array)[0] = 9
    assert array[0] == 0


def test_writable_array_shares_its_memory():
    array = np.arange(4.0)
    to_torch(array)[0] = 9
    assert array[0] == 9


def test_bool_becomes_uint8():
    assert to_torch(np.array([True, False])).tolist() == [1, 0]
    np.testing.assert_array_equal(to_numpy(torch.tensor([True, False])), np.array([1, 0], np.uint8))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_becomes_float32(dtype):
    result = to_numpy(torch.tensor([1.5, -2], dtype=dtype))
    assert result.dtype == np.float32 and result.tolist() == [1.5, -2]


def test_tensor_with_gradient_and_any_layout():
    tensor = torch.arange(6.0).reshape(2, 3).t().requires_grad_()
    np.testing.assert_array_equal(to_numpy(tensor), [[0, 3], [1, 4], [2, 5]])
    with torch.inference_mode():
        made = torch.ones(1, 2, 3, 3, 3).contiguous(memory_format=torch.channels_last_3d)
    assert to_numpy(made).shape == (1, 2, 3, 3, 3)
