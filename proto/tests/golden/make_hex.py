"""Writes the .hex files: the protobuf form of every message here, made by Google's Python implementation.

Needs the packages protobuf and grpcio-tools. Run it in this folder. `x.hex` comes from `x.in.json` where that exists (what
a peer sends, without declared defaults), else from `x.json` (what we write).
"""

import pathlib
import subprocess
import sys
import tempfile
import textwrap

HERE = pathlib.Path(__file__).resolve().parent
PROTOS = HERE.parent.parent / "protos"


def main():
    with tempfile.TemporaryDirectory() as folder:
        files = [str(p.relative_to(PROTOS)) for p in sorted(PROTOS.glob("mesos/**/*.proto"))]
        compiler = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", f"--python_out={folder}"]
        subprocess.run(compiler + files, check=True)
        sys.path.insert(0, folder)
        from google.protobuf import json_format
        from mesos.v1 import executor_pb2, master_pb2, scheduler_pb2

        types = {
            "scheduler_call": scheduler_pb2.Call,
            "scheduler_event": scheduler_pb2.Event,
            "master_call": master_pb2.Call,
            "master_response": master_pb2.Response,
            "master_event": master_pb2.Event,
            "executor_call": executor_pb2.Call,
            "executor_event": executor_pb2.Event,
        }
        for name, kind in types.items():
            for path in sorted((HERE / name).glob("*.json")):
                if path.name.endswith(".in.json"):
                    continue
                sent = path.with_suffix(".in.json")
                text = (sent if sent.exists() else path).read_text(encoding="utf-8")
                message = json_format.Parse(text, kind(), ignore_unknown_fields=True)
                data = message.SerializeToString(deterministic=True).hex()
                path.with_suffix(".hex").write_text("\n".join(textwrap.wrap(data, 96)) + "\n")


main()
