"""How much of what is sent to a free reader comes whole, by how many of its datagrams are lost? On a simulated network.

python -m tests.bench.lossy
"""

import argparse

from chatproto.news.items import BODY_BYTES_MAX
from tests.simulation.free import lossy

SHARES = (0.001, 0.01, 0.05, 0.1, 0.2)
SIZES = {200: 400, 5_000: 400, 20_000: 400, 200_000: 40, BODY_BYTES_MAX: 4}
"""How many items of each size."""


def main() -> None:
    """Measure, and print a table; the reader of the simulation looks that nothing is damaged."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seed", type=int, default=1)
    seed = parser.parse_args().seed
    print(f"{'lost':>6}" + "".join(f"{f'{size:,} bytes':>18}" for size in SIZES))
    for share in SHARES:
        came = lossy(seed, share, SIZES, seconds=300.0, worse=False)
        print(f"{share:6.1%}" + "".join(f"{whole / sent:18.1%}" for sent, whole in came.values()))


if __name__ == "__main__":
    main()
