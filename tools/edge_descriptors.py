"""Prints the module of the monitor that holds the schema of its messages: edge.proto and its imports, imports first."""

from __future__ import annotations

import base64
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


def main() -> None:
    """Print the module."""
    text = "\n".join(f'    "{line}"' for line in textwrap.wrap(base64.b64encode(descriptor_set()).decode(), 112))
    print('"""Generated from proto/windtunnel/v1/edge.proto by tools/edge_descriptors.py. Do not edit."""')
    print(f"\nfrom base64 import b64decode\n\nDESCRIPTOR_SET = b64decode(\n{text}\n)")


if __name__ == "__main__":
    main()
