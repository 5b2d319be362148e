"""The table that the benchmark prints: one line a measurement, ratios to the authors' scheme, and how time grows."""

COLUMNS = f"{'':<44} {'number type':<10} {'seconds':>9} {'authors / this':>14} {'peak MB':>8}  remark"


def line(title: str, result: dict, authors: float | None, remark: str = "") -> str:
    """Return a line of the table; `authors` are the seconds of the authors' scheme on the same volume."""
    if "missing" in result:
        return f"{title:<44} skipped: the package {result['missing']} is not installed"
    if "error" in result:
        return f"{title:<44} failed: {result['error']}"
    seconds = result["seconds"]
    ratio = f"{authors / seconds:.2f} x" if authors else ""
    memory = result.get("peak_memory_mb")
    remarks = [remark] if remark else []
    if "windows" in result and result["timed"] < result["windows"]:
        remarks.append(f"{result['timed']} of {result['windows']} windows timed, the rest extrapolated")
    elif "windows" in result:
        remarks.append(f"{result['windows']} windows")
    if "gflops" in result:
        remarks.append(f"{result['gflops']:.0f} GFLOP/s")
    if "gpu_memory_mb" in result:
        remarks.append(f"{result['gpu_memory_mb']:.0f} MB on the GPU")
    remarks += result.get("notes", [])
    return (
        f"{title:<44} {result['precision']:<10} {seconds:>9.2f} {ratio:>14} "
        f"{'' if memory is None else format(memory, '.0f'):>8}  {'; '.join(remarks)}"
    ).rstrip()


def growth(results: list[dict]) -> list[str]:
    """Return the lines that say how seconds and memory grow with the volume, against the smallest."""
    first = results[0]
    lines = [f"{'voxels':>10} {'times':>6} {'seconds':>9} {'times':>6} {'per voxel':>10} {'peak MB':>8}"]
    for result in results:
        volume, time = result["voxels"] / first["voxels"], result["seconds"] / first["seconds"]
        lines.append(
            f"{result['voxels']:>10} {volume:>6.2f} {result['seconds']:>9.2f} {time:>6.2f} "
            f"{100 * (time / volume - 1):>+9.1f}% {result['peak_memory_mb'] or 0:>8.0f}"
        )
    return lines
