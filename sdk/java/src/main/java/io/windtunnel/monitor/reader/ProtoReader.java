package io.windtunnel.monitor.reader;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.Charset;

/** Goes through the fields of a protobuf message. */
final class ProtoReader {
    private static final Charset UTF_8 = Charset.forName("UTF-8");

    private final byte[] data;
    private final ByteBuffer view;
    private int at;
    private final int end;
    private int wire;

    ProtoReader(byte[] data, int from, int end) {
        this.data = data;
        this.view = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
        this.at = from;
        this.end = end;
    }

    /** The number of the next field; 0 at the end. */
    int next() {
        if (at >= end) {
            return 0;
        }
        long tag = varint();
        wire = (int) tag & 7;
        return (int) (tag >>> 3);
    }

    boolean isPacked() {
        return wire == 2;
    }

    boolean hasMore() {
        return at < end;
    }

    long varint() {
        long value = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            byte part = data[take(1)];
            value |= (long) (part & 0x7F) << shift;
            if (part >= 0) {
                return value;
            }
        }
        throw new IllegalArgumentException("a number is too long");
    }

    private int take(int size) {
        if (size < 0 || size > end - at) {
            throw new IllegalArgumentException("a field is longer than its message");
        }
        int begin = at;
        at += size;
        return begin;
    }

    float float32() {
        return view.getFloat(take(4));
    }

    double float64() {
        return view.getDouble(take(8));
    }

    /** The message, or the packed numbers, of this field. */
    ProtoReader inner() {
        int size = (int) varint();
        int begin = take(size);
        return new ProtoReader(data, begin, begin + size);
    }

    byte[] bytes() {
        int size = (int) varint();
        int begin = take(size);
        byte[] bytes = new byte[size];
        System.arraycopy(data, begin, bytes, 0, size);
        return bytes;
    }

    String text() {
        return new String(bytes(), UTF_8);
    }

    /** Seconds and nanoseconds, in nanoseconds. */
    long time() {
        ProtoReader fields = inner();
        long nanoseconds = 0;
        for (int field = fields.next(); field != 0; field = fields.next()) {
            if (field == 1) {
                nanoseconds += fields.varint() * 1_000_000_000L;
            } else if (field == 2) {
                nanoseconds += (int) fields.varint();
            } else {
                fields.skip();
            }
        }
        return nanoseconds;
    }

    void skip() {
        switch (wire) {
            case 0:
                varint();
                break;
            case 1:
                take(8);
                break;
            case 2:
                take((int) varint());
                break;
            case 5:
                take(4);
                break;
            default:
                throw new IllegalArgumentException("wire type " + wire + " is unknown");
        }
    }
}
