"""Prints the module of a monitor that holds the schema of its messages: edge.proto and its imports, imports first.

python tools/edge_descriptors.py [python | cpp]
"""

from __future__ import annotations

import base64
import sys
import textwrap

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from windtunnel.v1 import edge_pb2


def descriptor_set() -> bytes:
    """Serialize edge.proto and its imports for the schema records of an edge log.

    Returns:
        A serialized FileDescriptorSet, imports before what imports them.
    """
    files = FileDescriptorSet()
    _add(files, edge_pb2.DESCRIPTOR, set())
    return files.SerializeToString(deterministic=True)


def _add(files: FileDescriptorSet, file: FileDescriptor, done: set[str]) -> None:
    if file.name in done:
        return
    done.add(file.name)
    for imported in file.dependencies:
        _add(files, imported, done)
    files.file.add().ParseFromString(file.serialized_pb)


def python_module() -> str:
    """Write the module for sdk/python/monitor.

    Returns:
        Its text.
    """
    text = "\n".join(f'    "{line}"' for line in textwrap.wrap(base64.b64encode(descriptor_set()).decode(), 112))
    head = '"""Generated from proto/windtunnel/v1/edge.proto by tools/edge_descriptors.py. Do not edit."""'
    return f"{head}\n\nfrom base64 import b64decode\n\nDESCRIPTOR_SET = b64decode(\n{text}\n)"


def cpp_header() -> str:
    """Write the header for sdk/cpp.

    Returns:
        Its text.
    """
    data = descriptor_set()
    rows = [data[start : start + 24] for start in range(0, len(data), 24)]
    head = "// Generated from proto/windtunnel/v1/edge.proto by tools/edge_descriptors.py. Do not edit.\n#pragma once\n"
    declared = "// A FileDescriptorSet of edge.proto and its imports.\ninline constexpr unsigned char edge_schema[] = {"
    body = "\n".join("  " + ",".join(map(str, row)) + "," for row in rows)
    return f"{head}\nnamespace windtunnel {{\n\n{declared}\n{body}\n}};\n\n}}  // namespace windtunnel"


def main() -> None:
    """Print the module."""
    print(cpp_header() if sys.argv[1:] == ["cpp"] else python_module())


if __name__ == "__main__":
    main()
