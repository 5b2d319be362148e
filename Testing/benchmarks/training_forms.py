"""Times forms of the autofocus layer's training on a CUDA device: PyTorch's separate convolutions, the fused kernels.

    PYTHONPATH=AutofocusSegmentation:Training .venv/bin/python Testing/benchmarks/training_forms.py

Milliseconds are medians by CUDA events after a first call that is not counted (it compiles). What the device refuses is
printed as such. The `separate` lines give TFLOP/s of the K convolutions, forwards and backwards. TRITON_INTERPRET=1
`--device cpu --precision float32 --width 16 --volumes 1x3x4x5 --variants 1 --repeats 1` runs it without a device.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from kernels import fused_cuda

from afnet.autofocus import RATES, AutofocusLayer
from afnet.networks import AutofocusNetwork, NetworkPlan

VARIANTS = [{"BLOCK": block, "num_warps": warps, "num_stages": stages} for block, warps, stages in (
    (64, 4, 1), (128, 4, 1), (128, 8, 1), (64, 4, 2), (128, 4, 2), (64, 4, 3))]
"""How each kernel is compiled in the sweep."""

AGREEMENT = 5e-3  # largest relative L2 difference of one variant's result from another's
BEGIN = time.perf_counter()


def milliseconds(call: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median of `repeats` calls after one that is not counted."""
    call()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        if device.type == "cuda":
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            call()
            last.record()
            last.synchronize()
        else:
            call()
        times.append(first.elapsed_time(last) if device.type == "cuda" else 1e3 * (time.perf_counter() - begin))
    return statistics.median(times)


class Case:
    """The tensors of one volume (batch, z, y, x), with `width` channels in and out and attention in float32."""

    def __init__(self, volume: tuple[int, ...], width: int, device: torch.device, dtype: torch.dtype, repeats: int):
        torch.manual_seed(0)
        batch, *sides = volume
        self.device, self.dtype, self.repeats, self.name = device, dtype, repeats, "x".join(map(str, volume))
        self.layer = AutofocusLayer(width, width).to(device)
        x = torch.randn(batch, width, *sides, device=device).relu().to(dtype)
        self.x = x.contiguous(memory_format=torch.channels_last_3d)
        self.attention = torch.softmax(torch.randn(batch, len(RATES), *sides, device=device), 1)
        self.towards = torch.randn_like(self.x)
        # Of the separate convolutions, forwards and backwards.
        self.operations = 3 * len(RATES) * 54 * width**2 * batch * torch.Size(sides).numel()

    def autocast(self, enabled: bool = True):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled and self.dtype != torch.float32)

    def train(self, operation: Callable, rates=RATES, weighted: bool = True, exact: bool = False) -> list:
        """Return y, dx, dattention (None if not `weighted`), dweight, dbias; `exact` in float32 without autocast."""
        parts = [part.detach().requires_grad_() for part in
                 (self.x.float() if exact else self.x, self.attention, self.layer.weight, self.layer.bias)]
        with self.autocast(not exact):
            y = operation(parts[0], parts[1] if weighted else None, parts[2], rates, parts[3])
        return [y.detach(), *torch.autograd.grad(y, parts, self.towards.to(y.dtype), allow_unused=True)]

    def train_layer(self, layer: AutofocusLayer) -> None:
        """The whole layer forwards and backwards, with its attention network and norm."""
        x = self.x.detach().requires_grad_()
        with self.autocast():
            y = layer(x)
        torch.autograd.grad(y, (x, *layer.parameters()), self.towards.to(y.dtype))

    def kernels(self) -> dict[str, Callable]:
        """The four kernels alone, by their name in LAUNCH."""
        x, dy, weight = self.x, self.towards, self.layer.weight.detach()
        turned = weight.flip(2, 3, 4).transpose(0, 1)
        planes, blend = self.attention.transpose(0, 1).contiguous(), fused_cuda.blend_and_multiply
        return {
            "forward": lambda: blend("forward", x, planes, weight, None, RATES),
            "input": lambda: blend("input", dy, planes, turned, None, RATES, at_source=True),
            "attention": lambda: fused_cuda.attention_gradient(x, planes, weight, dy, RATES),
            "weight": lambda: fused_cuda.weight_gradient(x, planes, weight, dy, RATES),
        }

    def line(self, title: str, call: Callable, native: float | None = None, operations: int = 0) -> float | None:
        """Print and return the milliseconds of `call`, and how many times faster than `native` it is."""
        try:
            took = milliseconds(call, self.device, self.repeats)
        except Exception as error:  # whatever a compiler or a driver raises is a result here
            return self.print(title, refusal(error))
        rate = f"{operations / took / 1e9:6.1f} TFLOP/s" if operations else f"{native / took:6.2f} x" if native else ""
        self.print(title, f"{took:9.3f} ms  {rate}")
        return took

    def print(self, title: str, text: str) -> None:
        print(f"{self.name:<14} {title:<24} {text}", flush=True)


def difference(found: torch.Tensor, exact: torch.Tensor) -> float:
    return ((found.float() - exact.float()).norm() / exact.float().norm()).item()


def refusal(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def sweep(case: Case, variants: int, until: float) -> None:
    """Time each kernel alone in some variants and leave the fastest in LAUNCH that agrees with the first."""
    for name, kernel in case.kernels().items():
        usual, best, exact = fused_cuda.LAUNCH[name], None, None
        choices = [usual | variant for variant in VARIANTS[:variants]]
        choices += [choice | {"STEPS": 16} for choice in choices[:2] if name == "weight"]
        for choice in choices:
            if time.perf_counter() - BEGIN > until:
                print(f"{name:<10} no time left for {choice}", flush=True)
                continue
            fused_cuda.LAUNCH[name], begin = choice, time.perf_counter()
            try:
                found = kernel()
                compiled = time.perf_counter() - begin
                exact = found if exact is None else exact
                error = difference(found, exact)
                took = milliseconds(kernel, case.device, case.repeats)
            except Exception as error:  # as above
                print(f"{name:<10} {choice}: {refusal(error)}", flush=True)
                continue
            print(f"{name:<10} {took:8.3f} ms  {choice}, first call {compiled:.1f} s, L2 {error:.0e}", flush=True)
            if error < AGREEMENT and (best is None or took < best[0]):
                best = took, choice
        fused_cuda.LAUNCH[name] = best[1] if best else usual
        print(f"{name:<10} takes {fused_cuda.LAUNCH[name]}", flush=True)


def convolution(x, _, weight, rates, bias) -> torch.Tensor:
    return fused_cuda.convolve(x, weight, rates[0], bias)


def compare(case: Case) -> None:
    """Print the table's lines of one volume."""
    fuse, separate = fused_cuda.fuse, fused_cuda.separate
    native = case.line("separate", lambda: case.train(separate), operations=case.operations)
    case.line("fused", lambda: case.train(fuse), native)
    native = case.line("whole layer, separate", partial(case.train_layer, case.layer), operations=case.operations)
    network = AutofocusNetwork(NetworkPlan("AFN-1", 4, 2, (case.x.shape[1],) * 8)).to(case.device)
    if fused_cuda.accelerate(network):
        case.line("whole layer, fused", partial(case.train_layer, network.blocks[2].second), native)
    for rate in (1, 2):
        native = case.line(f"rate {rate} alone, PyTorch", partial(case.train, separate, (rate,), False))
        case.line(f"rate {rate} alone, Triton", partial(case.train, convolution, (rate,), False), native)


def errors(case: Case) -> None:
    """Print relative L2 differences from float32 of what both forms give."""
    exact = case.train(fused_cuda.separate, exact=True)
    for title, operation in (("errors of separate", fused_cuda.separate), ("errors of fused", fused_cuda.fuse)):
        try:
            pairs = zip(("y", "dx", "dattention", "dweight", "dbias"), case.train(operation), exact)
            case.print(title, ", ".join(f"{name} {difference(*pair):.1e}" for name, *pair in pairs))
        except Exception as error:  # as above
            case.print(title, refusal(error))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--width", type=int, default=32, help="channels in and out")
    parser.add_argument("--volumes", nargs="+", default=["2x74x92x74", "1x96x96x128"], help="batch x z x y x x")
    parser.add_argument("--variants", type=int, default=6, help="of each kernel")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--until", type=float, default=22, help="seconds after which the sweep tries no more")
    parser.add_argument("--cudnn-benchmark", action="store_true", help="let cuDNN try its algorithms (slow start)")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda":
        print(torch.cuda.get_device_name(device), "PyTorch", torch.__version__, flush=True)
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = options.cudnn_benchmark
    if not fused_cuda.available(device):
        raise SystemExit("Triton is not installed, or the device is not a CUDA device: nothing to compare.")
    for volume in options.volumes:
        sides = tuple(map(int, volume.split("x")))
        case = Case(sides, options.width, device, getattr(torch, options.precision), options.repeats)
        errors(case)
        if volume == options.volumes[0]:
            sweep(case, options.variants, options.until)
        compare(case)
        print(f"{time.perf_counter() - BEGIN:.0f} s since the start", flush=True)


if __name__ == "__main__":
    main()
