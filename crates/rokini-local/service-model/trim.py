"""Makes kinesis.json anew from the newest botocore: pip install botocore, then run this. With `-`, prints it instead."""

import gzip
import json
import pathlib
import sys

import botocore

KEPT = ("type", "required", "min", "max", "pattern", "enum")
path = pathlib.Path(botocore.__file__).parent / "data/kinesis/2013-12-02/service-2.json.gz"
model = json.loads(gzip.decompress(path.read_bytes()))
shapes = {}


def keep(name):
    if name in shapes:
        return
    shape = model["shapes"][name]
    kept = shapes[name] = {key: shape[key] for key in KEPT if shape.get(key) not in (None, [])}
    if "members" in shape:
        kept["members"] = {member: about["shape"] for member, about in shape["members"].items()}
        inner = kept["members"].values()
    else:
        for part in ("member", "key", "value"):
            if part in shape:
                kept[part] = shape[part]["shape"]
        inner = [kept[part] for part in ("member", "key", "value") if part in kept]
    for other in list(inner):
        keep(other)


operations = {}
for name, operation in sorted(model["operations"].items()):
    about = operations[name] = {"errors": [error["shape"] for error in operation.get("errors", [])]}
    for side in ("input", "output"):
        if side in operation:
            about[side] = operation[side]["shape"]
            keep(about[side])

trimmed = {"botocore": botocore.__version__, "operations": operations, "shapes": dict(sorted(shapes.items()))}


def lines(table):
    rows = (f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in table.items())
    return "{\n" + ",\n".join(rows) + "\n  }"


text = "{\n" + ",\n".join(
    f"  {json.dumps(key)}: {lines(value) if isinstance(value, dict) else json.dumps(value)}"
    for key, value in trimmed.items()
) + "\n}\n"
if sys.argv[1:] == ["-"]:
    print(text)
else:
    pathlib.Path(__file__).with_name("kinesis.json").write_text(text)
