package io.windtunnel.monitor;

/** Element type of an array. The codes are those of {@code EdgeElement} in edge.proto. */
public enum Element {
    /** 32-bit IEEE 754: {@code float[]}, {@code FloatBuffer}. */
    FLOAT32(1, 4),
    /** 16-bit IEEE 754, in {@code short[]} or {@code ShortBuffer}. */
    FLOAT16(2, 2),
    /** 64-bit IEEE 754: {@code double[]}. */
    FLOAT64(3, 8),
    /** Unsigned 8-bit integer, in {@code byte[]}. */
    UINT8(4, 1),
    /** Signed 8-bit integer: {@code byte[]}. */
    INT8(5, 1),
    /** Unsigned 16-bit integer, in {@code short[]}. */
    UINT16(6, 2),
    /** Signed 16-bit integer: {@code short[]}. */
    INT16(7, 2),
    /** Signed 32-bit integer: {@code int[]}. */
    INT32(8, 4),
    /** Signed 64-bit integer: {@code long[]}. */
    INT64(9, 8),
    /** {@code boolean[]}, or 0 and 1 in {@code byte[]}. */
    BOOL(10, 1),
    /** UTF-8 text: {@code String}. */
    TEXT(11, 1);

    final int code;
    final int bytes;

    Element(int code, int bytes) {
        this.code = code;
        this.bytes = bytes;
    }
}
