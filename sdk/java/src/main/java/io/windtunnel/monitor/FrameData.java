package io.windtunnel.monitor;

import java.util.ArrayList;
import java.util.List;

/** What was recorded of one frame, until it is written. */
final class FrameData {
    /** A time of a frame; the kinds are those of {@code EdgeTimingKind} in edge.proto. */
    static final class Timing {
        static final int FRAME = 1;
        static final int STAGE = 2;
        static final int INFERENCE = 3;
        static final int LAYER = 4;

        final int kind;
        final String name;
        final long elapsed;
        final long begin;
        final String op;

        Timing(int kind, String name, long elapsed, long begin, String op) {
            this.kind = kind;
            this.name = name;
            this.elapsed = elapsed;
            this.begin = begin;
            this.op = op;
        }
    }

    final long number;
    final long time;
    final Level level;
    final List<TensorRecord> tensors = new ArrayList<TensorRecord>(4);
    final List<Timing> timings = new ArrayList<Timing>(4);
    /** Keys and values in turn. */
    final List<String> values = new ArrayList<String>(0);
    final List<String> leftOut = new ArrayList<String>(0);
    boolean labeled;
    long label;
    double sampleRate;
    private long textBytes;

    FrameData(long number, long time, Level level) {
        this.number = number;
        this.time = time;
        this.level = level;
    }

    void note(String key, String value) {
        values.add(key);
        values.add(value);
        textBytes += 2L * (key.length() + value.length()) + 96;
    }

    void leaveOut(String what) {
        leftOut.add(what);
        textBytes += 2L * what.length() + 48;
    }

    /** About the memory that it takes besides values, in bytes. */
    long cost() {
        return 384 + 384L * tensors.size() + 64L * timings.size() + textBytes;
    }

    /** Gives its arrays back. */
    void release(ArrayPool pool) {
        for (TensorRecord tensor : tensors) {
            if (tensor.array != null) {
                pool.give(tensor.array);
                tensor.array = null;
            }
        }
    }
}
