#!/usr/bin/env python3
"""Checks what the layers may include.

usage: check_layers.py [ROOT] [--self-test]

A file of genkit/LAYER includes headers of its own layer and of the layers above it in LAYERS, and MLX only
where the table allows. `thin` programs (cli) and tests include what they like. Prints one line a violation
and exits with 1 when there is one.
"""

import re
import sys
import tempfile
from pathlib import Path

# Layer -> may it know MLX. In order: a layer includes only those above it.
LAYERS = {
    "base": False,
    "kernels": False,
    "ops": True,
    "config": False,
    "io": True,
    "text": False,
    "nn": True,
    "cache": True,
    "models": True,
    "logits": True,
    "generate": True,
    "steering": True,
    "train": True,
    "eval": True,
}
# The C header of the Rust library is the text layer's own business.
RUST_HEADER_LAYER = "text"
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def violations(root):
    """Yields (file, line number, message) for every include that breaks the rule."""
    order = list(LAYERS)
    files = sorted(p for p in (root / "genkit").rglob("*") if p.suffix in {".h", ".cpp", ".inc", ".hpp"})
    for path in files:
        parts = path.relative_to(root / "genkit").parts
        name = path.relative_to(root)
        if len(parts) < 2 or parts[0] not in LAYERS:
            yield name, 0, f"lies in no layer; the layers are {', '.join(order)}"
            continue
        layer = parts[0]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            style, header = match.groups()
            if header.startswith("mlx/") and not LAYERS[layer]:
                yield name, number, f"{layer} must not know MLX, but includes {header}"
            elif header == "genkit_rust.h" and layer != RUST_HEADER_LAYER:
                yield name, number, f"only {RUST_HEADER_LAYER} may include {header}"
            elif header.startswith("genkit/"):
                other = header.split("/")[1]
                if style == "<":
                    yield name, number, f'write #include "{header}"'
                if other not in LAYERS:
                    yield name, number, f"includes {header}, which lies in no layer"
                elif order.index(other) > order.index(layer):
                    yield name, number, f"{layer} includes {header}, but {other} is a layer below it"
                elif not (root / header).is_file():
                    yield name, number, f"includes {header}, which does not exist"
            elif style == '"' and header != "genkit_rust.h":
                yield name, number, f'write the whole path from the root instead of "{header}"'


def self_test():
    """The check must see each kind of violation, and nothing in a tree that keeps the rule."""
    good = {"genkit/base/a.h": "", "genkit/ops/b.h": '#include "genkit/base/a.h"\n#include <mlx/array.h>\n'}
    bad = {
        "genkit/base/up.h": '#include "genkit/ops/b.h"\n',
        "genkit/config/mlx.h": "#include <mlx/array.h>\n",
        "genkit/kernels/quoted_mlx.h": '  #  include "mlx/ops.h"\n',
        "genkit/io/rust.cpp": '#include "genkit_rust.h"\n',
        "genkit/io/relative.cpp": '#include "../base/a.h"\n',
        "genkit/io/missing.cpp": '#include "genkit/base/none.h"\n',
        "genkit/io/angle.cpp": "#include <genkit/base/a.h>\n",
        "genkit/io/nowhere.cpp": '#include "genkit/other/a.h"\n',
        "genkit/loose.cpp": "",
    }
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)

        def put(files):
            for name, text in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)

        put(good)
        clean = list(violations(root))
        assert not clean, f"false alarm: {clean}"
        put(bad)
        found = {str(name) for name, _, _ in violations(root)}
        assert found == set(bad), f"expected {sorted(bad)}, found {sorted(found)}"


def main():
    if "--self-test" in sys.argv:
        self_test()
        return 0
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    found = list(violations(root))
    for name, number, message in found:
        print(f"{name}:{number}: {message}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
