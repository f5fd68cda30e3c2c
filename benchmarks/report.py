"""The table of figures, as it stands in docs/benchmarks.md."""

from benchmarks.scenarios import Figure


def render(figures: list[Figure]) -> str:
    """Markdown: rate, ratio to the mean of the raw transfers of the same run, server CPU seconds per wire GB."""
    raw = [figure.rate for figure in figures if figure.name.startswith("raw TLS")]
    yardstick = sum(raw) / len(raw)
    lines = [
        "| work | wire MB | seconds | MB/s | of raw TLS | server CPU s/GB | of which | note |",
        "|---|---:|---:|---:|---:|---:|---|---|",
    ]
    for figure in figures:
        scale = 1e9 / figure.wire_bytes
        parts = sorted(figure.server.items(), key=lambda item: -item[1])
        listing = figure.name.startswith("REST")
        shares = ", ".join(f"{name} {seconds * (1000 if listing else scale):.3g}" for name, seconds in parts[:6])
        total = f"{sum(figure.server.values()) * 1000:.0f} ms" if listing else f"{figure.server_seconds_per_gb:.2f}"
        ratio = "" if listing else f"{figure.rate / yardstick:.2f}"
        lines.append(
            f"| {figure.name} | {figure.wire_bytes / 1e6:.0f} | {figure.seconds:.3f} | {figure.rate:.0f} | {ratio} "
            f"| {total} | {shares} | {figure.note} |"
        )
    return "\n".join(lines)
