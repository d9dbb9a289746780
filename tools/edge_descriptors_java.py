"""Prints the class of the Java monitor that holds the schema of its messages: edge.proto and its imports."""

from __future__ import annotations

import textwrap

from edge_descriptors import descriptor_set

CLASS = '''package io.windtunnel.monitor;

/** Generated from proto/windtunnel/v1/edge.proto by tools/edge_descriptors_java.py. Do not edit. */
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
}}'''


def main() -> None:
    """Print the class."""
    lines = "\n".join(f'            + "{line}"' for line in textwrap.wrap(descriptor_set().hex(), 96))
    print(CLASS.format(lines=lines))


if __name__ == "__main__":
    main()
