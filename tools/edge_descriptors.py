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


_JAVA_CLASS = """package io.windtunnel.monitor;

/** Generated from proto/windtunnel/v1/edge.proto by tools/edge_descriptors.py. Do not edit. */
final class EdgeDescriptors {{
    private static final String HEX = ""
{lines};

    private EdgeDescriptors() {{}}

    /** A serialized FileDescriptorSet of edge.proto and its imports. */
    static byte[] bytes() {{
        byte[] bytes = new byte[HEX.length() / 2];
        for (int i = 0; i < bytes.length; i++) {{
            bytes[i] = (byte) Integer.parseInt(HEX.substring(2 * i, 2 * i + 2), 16);
        }}
        return bytes;
    }}
}}"""


def java_class() -> str:
    """Write the class for sdk/java.

    Returns:
        Its text.
    """
    lines = "\n".join(f'            + "{line}"' for line in textwrap.wrap(descriptor_set().hex(), 96))
    return _JAVA_CLASS.format(lines=lines)


def main() -> None:
    """Print the module, or for the argument `cpp` the header, for `java` the class."""
    makers = {"cpp": cpp_header, "java": java_class}
    print(makers.get("".join(sys.argv[1:]), python_module)())


if __name__ == "__main__":
    main()
