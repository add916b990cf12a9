"""CPU time of the command before it does any work, each the median of nine runs.

    python benchmarks/startup.py

Other programs on the same cores make it a little longer, not several times as wall-clock time.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

RUNS = 9
COMMANDS = {
    "homolog --version": (["-m", "homolog", "--version"], "0.2 s"),
    "homolog --help": (["-m", "homolog", "--help"], "0.4 s"),
    "homolog match --help": (["-m", "homolog", "match", "--help"], "0.4 s"),
    "import homolog": (["-c", "import homolog"], ""),
    "python alone": (["-c", ""], ""),
}


def cpu_seconds(arguments: list[str]) -> float:
    """User and system time of Python with these arguments."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    print("| | CPU time | limit |\n|---|---|---|")
    for name, (arguments, limit) in COMMANDS.items():
        seconds = statistics.median(cpu_seconds(arguments) for _ in range(RUNS))
        print(f"| {name} | {seconds:.2f} s | {limit} |")


if __name__ == "__main__":
    main()
