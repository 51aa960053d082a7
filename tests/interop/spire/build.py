"""A SPIRE server and agent, built from the Go module proxy (`go.mod` says which, `go.sum` locks it): there are no
packages of it. It takes minutes and 2 GB the first time, which is why `tests/interop/run` does not run this suite unless
it is named.

SPIRE_BIN names a directory that has both already.
"""

import os
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMMANDS = [f"github.com/spiffe/spire/cmd/spire-{part}" for part in ("server", "agent")]


def spire():
    """The directory with both programs; builds them, which is quick when nothing has changed."""
    if given := os.environ.get("SPIRE_BIN"):
        return Path(given).resolve()
    built = HERE / "bin"
    environment = {**os.environ, "GOFLAGS": "-buildvcs=false -mod=readonly"}
    subprocess.run(["go", "build", "-o", f"{built}/", *COMMANDS], cwd=HERE, env=environment, check=True)
    return built


if __name__ == "__main__":
    spire()
