package io.windtunnel.monitor;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;

/**
 * Message records that wait to be written together. Values are not copied into it: it keeps the places at which they
 * belong, and converts them piece by piece when it is written.
 */
final class Chunk {
    /** Receives a chunk in order. */
    interface Sink {
        void bytes(byte[] data, int offset, int length) throws IOException;
    }

    private static final int PIECE = 1 << 15;
    private static final int MESSAGE = 0x05;

    /** Values that belong before byte {@code place} of the small data. */
    private static final class Insert {
        final int place;
        final Element element;
        final Object array;
        final int count;

        Insert(int place, Element element, Object array, int count) {
            this.place = place;
            this.element = element;
            this.array = array;
            this.count = count;
        }
    }

    /** Where the messages of a channel are: pairs of time and offset. */
    final List<long[]> frames = new ArrayList<long[]>();
    final List<long[]> readings = new ArrayList<long[]>();

    private final ProtoBuffer small = new ProtoBuffer();
    private final List<Insert> inserts = new ArrayList<Insert>();
    private final ByteBuffer piece = ByteBuffer.allocate(PIECE).order(ByteOrder.LITTLE_ENDIAN);
    private long inserted;
    /** What the frames in it say is lost: if the chunk is lost too, it must be reported again. */
    long lostBefore;
    long begin = Long.MAX_VALUE;
    long end;

    /** Bytes of it in the file. */
    long size() {
        return small.size + inserted;
    }

    boolean isEmpty() {
        return frames.isEmpty() && readings.isEmpty();
    }

    /**
     * Begins a message; its {@code length} bytes follow by {@link #data} and {@link #values}.
     *
     * @param channel channel of the message
     * @param sequence sequence number
     * @param time time of the message in nanoseconds since 1970
     * @param length bytes of the message
     */
    void message(int channel, long sequence, long time, long length) {
        (channel == McapFile.FRAMES ? frames : readings).add(new long[] {time, size()});
        begin = Math.min(begin, time);
        end = Math.max(end, time);
        small.u8(MESSAGE);
        small.u64(2 + 4 + 8 + 8 + length);
        small.u16(channel);
        small.u32((int) sequence);
        small.u64(time);
        small.u64(time);
    }

    void data(byte[] bytes, int from, int to) {
        small.bytes(from == 0 ? bytes : java.util.Arrays.copyOfRange(bytes, from, to), to - from);
    }

    void values(Element element, Object array, int count) {
        inserts.add(new Insert(small.size, element, array, count));
        inserted += (long) count * element.bytes;
    }

    /** Gives all bytes in order. */
    void writeTo(Sink sink) throws IOException {
        int done = 0;
        for (Insert insert : inserts) {
            sink.bytes(small.data, done, insert.place - done);
            done = insert.place;
            writeValues(insert, sink);
        }
        sink.bytes(small.data, done, small.size - done);
    }

    private void writeValues(Insert insert, Sink sink) throws IOException {
        if (insert.array instanceof byte[]) {
            sink.bytes((byte[]) insert.array, 0, insert.count);
            return;
        }
        int width = insert.element.bytes;
        for (int start = 0; start < insert.count; start += PIECE / width) {
            int length = Math.min(PIECE / width, insert.count - start);
            piece.clear();
            put(insert, start, length);
            sink.bytes(piece.array(), 0, length * width);
        }
    }

    private void put(Insert insert, int start, int length) {
        switch (Values.carrier(insert.element)) {
            case 'f':
                piece.asFloatBuffer().put((float[]) insert.array, start, length);
                break;
            case 'd':
                piece.asDoubleBuffer().put((double[]) insert.array, start, length);
                break;
            case 's':
                piece.asShortBuffer().put((short[]) insert.array, start, length);
                break;
            case 'i':
                piece.asIntBuffer().put((int[]) insert.array, start, length);
                break;
            default:
                piece.asLongBuffer().put((long[]) insert.array, start, length);
        }
    }

    /** Forgets everything; arrays go back to the pool. */
    void clear(ArrayPool pool) {
        for (Insert insert : inserts) {
            pool.give(insert.array);
        }
        inserts.clear();
        frames.clear();
        readings.clear();
        small.clear();
        inserted = 0;
        lostBefore = 0;
        begin = Long.MAX_VALUE;
        end = 0;
    }
}
