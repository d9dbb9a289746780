package io.windtunnel.monitor;

import java.nio.charset.Charset;
import java.util.Arrays;

/** A growing byte buffer with the little of protobuf's and MCAP's encodings that an edge log needs. */
final class ProtoBuffer {
    private static final Charset UTF_8 = Charset.forName("UTF-8");
    private static final int VARINT = 0;
    private static final int FIXED64 = 1;
    private static final int LENGTH = 2;
    private static final int FIXED32 = 5;

    byte[] data = new byte[256];
    int size;

    ProtoBuffer clear() {
        size = 0;
        return this;
    }

    private void room(int more) {
        if (data.length - size < more) {
            data = Arrays.copyOf(data, Math.max(size + more, 2 * data.length));
        }
    }

    // ---- protobuf: fields that are 0 or empty are left out

    void uint(int field, long value) {
        if (value != 0) {
            varint(field << 3 | VARINT);
            varint(value);
        }
    }

    void fixed64(int field, double value) {
        if (value != 0) {
            varint(field << 3 | FIXED64);
            u64(Double.doubleToRawLongBits(value));
        }
    }

    void fixed32(int field, float value) {
        if (value != 0) {
            varint(field << 3 | FIXED32);
            u32(Float.floatToRawIntBits(value));
        }
    }

    void text(int field, String value) {
        if (value != null && !value.isEmpty()) {
            textAlways(field, value);
        }
    }

    /** A text that is written even if it is empty: an item of a list. */
    void textAlways(int field, String value) {
        byte[] bytes = value.getBytes(UTF_8);
        head(field, bytes.length);
        bytes(bytes, bytes.length);
    }

    void floats(int field, float[] values) {
        if (values.length > 0) {
            head(field, 4L * values.length);
            for (float value : values) {
                u32(Float.floatToRawIntBits(value));
            }
        }
    }

    void doubles(int field, double[] values) {
        if (values.length > 0) {
            head(field, 8L * values.length);
            for (double value : values) {
                u64(Double.doubleToRawLongBits(value));
            }
        }
    }

    void uints(int field, int[] values) {
        if (values.length > 0) {
            int length = 0;
            for (int value : values) {
                length += varintLength(value & 0xFFFFFFFFL);
            }
            head(field, length);
            for (int value : values) {
                varint(value & 0xFFFFFFFFL);
            }
        }
    }

    /** A message; written even if it is empty. */
    void message(int field, ProtoBuffer inner) {
        head(field, inner.size);
        bytes(inner.data, inner.size);
    }

    /** Seconds and nanoseconds: a Timestamp or a Duration. */
    void time(int field, long nanoseconds) {
        long seconds = nanoseconds / 1_000_000_000L;
        int rest = (int) (nanoseconds % 1_000_000_000L);
        head(field, (seconds == 0 ? 0 : 1 + varintLength(seconds)) + (rest == 0 ? 0 : 1 + varintLength(rest)));
        uint(1, seconds);
        uint(2, rest);
    }

    /** The head of a field with a length. */
    void head(int field, long length) {
        varint(field << 3 | LENGTH);
        varint(length);
    }

    /** How many bytes {@link #head} writes. */
    static int headLength(int field, long length) {
        return varintLength((long) field << 3) + varintLength(length);
    }

    void varint(long value) {
        room(10);
        long rest = value;
        while ((rest & ~0x7FL) != 0) {
            data[size++] = (byte) (rest & 0x7F | 0x80);
            rest >>>= 7;
        }
        data[size++] = (byte) rest;
    }

    private static int varintLength(long value) {
        int length = 1;
        for (long rest = value >>> 7; rest != 0; rest >>>= 7) {
            length++;
        }
        return length;
    }

    // ---- plain little-endian values: MCAP

    void u8(int value) {
        room(1);
        data[size++] = (byte) value;
    }

    void u16(int value) {
        u8(value);
        u8(value >> 8);
    }

    void u32(int value) {
        room(4);
        for (int shift = 0; shift < 32; shift += 8) {
            data[size++] = (byte) (value >> shift);
        }
    }

    void u64(long value) {
        room(8);
        for (int shift = 0; shift < 64; shift += 8) {
            data[size++] = (byte) (value >> shift);
        }
    }

    /** Text with its length before it. */
    void string(String value) {
        byte[] bytes = value.getBytes(UTF_8);
        u32(bytes.length);
        bytes(bytes, bytes.length);
    }

    void bytes(byte[] from, int length) {
        room(length);
        System.arraycopy(from, 0, data, size, length);
        size += length;
    }
}
