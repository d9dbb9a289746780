package io.windtunnel.monitor;

import java.util.Arrays;
import java.util.Map;

/**
 * One pass of the app from a raw sample to its result. {@link Monitor#frame()} begins it, {@link #close()} ends it and
 * hands it over. If the frame is not recorded, all methods do nothing. Several threads may use a frame. No method
 * throws, except what the app's own function throws in {@link #call}, {@link #stage(String, Runnable)} and
 * {@link #inference(Runnable)}.
 *
 * <p>Values are primitive arrays, nested arrays such as {@code float[1][10]}, buffers (direct ones too), texts, numbers
 * or booleans. They are copied before the method returns. {@code byte[]} and {@code ByteBuffer}: if the shape leaves
 * four bytes for a value they are float32, else int8, in {@link #raw} uint8; a {@link TensorType} says what else they are.
 */
public final class Frame implements AutoCloseable {
    /** A function of the app that {@link #call} records. */
    public interface Function<I, O, E extends Exception> {
        /** Computes the output from the input. */
        O apply(I input) throws E;
    }

    /** A stage of the app; its time is recorded when it is closed. */
    public static final class Stage implements AutoCloseable {
        private static final Stage NONE = new Stage(null, 0, "");

        private final Frame frame;
        private final int kind;
        private final String name;
        private final long begin;

        private Stage(Frame frame, int kind, String name) {
            this.frame = frame;
            this.kind = kind;
            this.name = name;
            begin = frame == null ? 0 : System.nanoTime();
        }

        @Override
        public void close() {
            if (frame != null) {
                frame.time(kind, name, begin, System.nanoTime(), "");
            }
        }
    }

    static final Frame NONE = new Frame(null, null);

    private static final TensorType PLAIN = TensorType.of(null);

    private final Monitor monitor;
    private final FrameData data;
    private final long begin;
    private final OpenFrames.Open open;
    private boolean closed;

    Frame(Monitor monitor, FrameData data) {
        this.monitor = monitor;
        this.data = data;
        begin = data == null ? 0 : System.nanoTime();
        open = monitor == null ? null : monitor.opened(this, data);
    }

    /** Whether this frame is recorded: an app may leave out work that only the log needs. */
    public boolean isRecorded() {
        return data != null;
    }

    /** Records the raw sample, if raw samples are switched on: an RGB image (H, W, 3) of bytes, audio, or a text. */
    public Frame raw(Object values, int... shape) {
        return raw("", values, shape);
    }

    /** Records the raw sample for one of several inputs. */
    public Frame raw(String input, Object values, int... shape) {
        return data == null ? this : record(TensorRecord.Role.RAW, input, values, shape, PLAIN, Element.UINT8);
    }

    /** Records the raw sample for an input, of a type that Java does not say. */
    public Frame raw(String input, Object values, TensorType type) {
        return data == null ? this : record(TensorRecord.Role.RAW, input, values, null, type, Element.UINT8);
    }

    /** Records the only input of the model as it is fed. */
    public Frame input(Object values, int... shape) {
        return input("", values, shape);
    }

    /** Records an input of the model as it is fed. */
    public Frame input(String name, Object values, int... shape) {
        return data == null ? this : record(TensorRecord.Role.INPUT, name, values, shape, PLAIN, Element.INT8);
    }

    /** Records an input of the model as it is fed. */
    public Frame input(String name, Object values, TensorType type) {
        return data == null ? this : record(TensorRecord.Role.INPUT, name, values, null, type, Element.INT8);
    }

    /** Records the only output of the model. */
    public Frame output(Object values, int... shape) {
        return output("", values, shape);
    }

    /** Records an output of the model. */
    public Frame output(String name, Object values, int... shape) {
        return data == null ? this : record(TensorRecord.Role.OUTPUT, name, values, shape, PLAIN, Element.INT8);
    }

    /** Records an output of the model. */
    public Frame output(String name, Object values, TensorType type) {
        return data == null ? this : record(TensorRecord.Role.OUTPUT, name, values, null, type, Element.INT8);
    }

    /** Records the output tensor of a layer; its values only at level {@link Level#LAYERS}. */
    public Frame layer(String name, Object values, int... shape) {
        return data == null ? this : record(TensorRecord.Role.LAYER, name, values, shape, PLAIN, Element.INT8);
    }

    /** Records the output tensor of a layer; {@link TensorType#op} says which op gives it. */
    public Frame layer(String name, Object values, TensorType type) {
        return data == null ? this : record(TensorRecord.Role.LAYER, name, values, null, type, Element.INT8);
    }

    /** Records what the app made of the outputs, for example "boxes", "classes" or "scores". */
    public Frame postprocessed(String name, Object values, int... shape) {
        return data == null ? this : record(TensorRecord.Role.POSTPROCESSED, name, values, shape, PLAIN, Element.INT8);
    }

    /** Records what the app made of the outputs, of a type that Java does not say. */
    public Frame postprocessed(String name, Object values, TensorType type) {
        return data == null ? this : record(TensorRecord.Role.POSTPROCESSED, name, values, null, type, Element.INT8);
    }

    /**
     * Calls a function of the app; records its input, its output, and its time. What it throws reaches the app.
     *
     * <pre>{@code float[] input = frame.call("preprocess", bitmapBytes, bytes -> preprocess(bytes));}</pre>
     *
     * @param name name of the function
     * @param input what it is given
     * @param function the function
     * @return what the function returns
     */
    public <I, O, E extends Exception> O call(String name, I input, Function<I, O, E> function) throws E {
        if (data == null) {
            return function.apply(input);
        }
        record(TensorRecord.Role.FUNCTION_INPUT, name, input, null, PLAIN, Element.UINT8);
        long start = System.nanoTime();
        try {
            O output = function.apply(input);
            time(FrameData.Timing.STAGE, name, start, System.nanoTime(), "");
            start = 0;
            record(TensorRecord.Role.FUNCTION_OUTPUT, name, output, null, PLAIN, Element.UINT8);
            return output;
        } finally {
            if (start != 0) {
                time(FrameData.Timing.STAGE, name, start, System.nanoTime(), "");
            }
        }
    }

    /** Begins a stage of the app: {@code try (Frame.Stage stage = frame.stage("decode")) { ... }}. */
    public Stage stage(String name) {
        return data == null ? Stage.NONE : new Stage(this, FrameData.Timing.STAGE, name);
    }

    /** Runs a stage of the app and records its time. */
    public Frame stage(String name, Runnable work) {
        try (Stage stage = stage(name)) {
            work.run();
        }
        return this;
    }

    /** Begins the inference: {@code try (Frame.Stage inference = frame.inference()) { ... }}. */
    public Stage inference() {
        return data == null ? Stage.NONE : new Stage(this, FrameData.Timing.INFERENCE, "");
    }

    /** Runs the inference and records its time: {@code frame.inference(() -> interpreter.run(input, output))}. */
    public Frame inference(Runnable work) {
        try (Stage stage = inference()) {
            work.run();
        }
        return this;
    }

    /**
     * Records how long a layer took.
     *
     * @param name the layer's output tensor
     * @param op its op, for example "CONV_2D"; empty if it is not known
     * @param nanoseconds how long it took
     */
    public Frame layerTime(String name, String op, long nanoseconds) {
        if (data != null) {
            add(new FrameData.Timing(FrameData.Timing.LAYER, text(name), Math.max(0, nanoseconds), 0, text(op)));
        }
        return this;
    }

    /** Records a fact of the app, by name. */
    public Frame note(String key, Object value) {
        if (data != null) {
            try {
                String said = String.valueOf(value);
                synchronized (this) {
                    if (!closed) {
                        data.note(text(key), said);
                    }
                }
            } catch (Throwable thrown) {
                monitor.problem(thrown);
            }
        }
        return this;
    }

    /** Records the class index of the ground truth, where the app knows it. */
    public synchronized Frame label(long index) {
        if (data != null && !closed) {
            data.label = index;
            data.labeled = true;
        }
        return this;
    }

    /** Records the rate of the raw audio, in Hz. */
    public synchronized Frame sampleRate(double hertz) {
        if (data != null && !closed) {
            data.sampleRate = hertz;
        }
        return this;
    }

    /** Reports what is missing in the frame and why, for example "layers: the runtime does not give them". */
    public synchronized Frame leaveOut(String words) {
        if (data != null && !closed && words != null) {
            data.leaveOut(words);
        }
        return this;
    }

    /** Ends the frame and hands it over to the thread that writes. */
    @Override
    public void close() {
        if (data == null) {
            return;
        }
        try {
            time(FrameData.Timing.FRAME, "", begin, System.nanoTime(), "");
            synchronized (this) {
                if (closed) {
                    return;
                }
                closed = true;
            }
            monitor.offer(data, open);
        } catch (Throwable thrown) {
            monitor.problem(thrown);
        }
    }

    private static String label(TensorRecord.Role role, String name) {
        return text(name).isEmpty() ? role.label : role.label + " " + name;
    }

    private static String text(String given) {
        return given == null ? "" : given;
    }

    private void time(int kind, String name, long start, long end, String op) {
        add(new FrameData.Timing(kind, text(name), end - start, start - begin, op));
    }

    private synchronized void add(FrameData.Timing timing) {
        if (!closed) {
            data.timings.add(timing);
        }
    }

    private synchronized Frame record(TensorRecord.Role role, String name, Object given, int[] shape, TensorType type,
            Element bytes) {
        if (closed || role == TensorRecord.Role.RAW && !monitor.recordsRaw()) {
            return this;
        }
        try {
            if (recordParts(role, name, given, bytes)) {
                return this;
            }
            int[] sizes = shape != null ? shape : type.shape;
            Values values = Values.of(given, type.element, sizes, bytes);
            if (values == null) {
                String what = given == null ? "null" : given.getClass().getName();
                data.leaveOut(label(role, name) + ": " + what + " is not an array or a text");
                return this;
            }
            TensorRecord tensor = new TensorRecord(role, text(name), values, type);
            if (values.element != Element.TEXT && Values.product(values.shape) != values.count) {
                tensor.shape = new int[] {values.count};
                data.leaveOut("shape of " + tensor.label() + ": it does not have " + values.count + " values");
            }
            monitor.fill(tensor, values, data);
            data.tensors.add(tensor);
        } catch (Throwable thrown) {
            data.leaveOut(label(role, name) + ": " + thrown);
            monitor.problem(thrown);
        }
        return this;
    }

    /** Records the parts of a list, a map, or an array of objects, as "name[0]"; false if it is nothing of these. */
    private boolean recordParts(TensorRecord.Role role, String name, Object given, Element bytes) {
        if (given instanceof Map) {
            for (Map.Entry<?, ?> part : ((Map<?, ?>) given).entrySet()) {
                record(role, name + "[" + part.getKey() + "]", part.getValue(), null, PLAIN, bytes);
            }
            return true;
        }
        Iterable<?> parts = given instanceof Iterable ? (Iterable<?>) given
                : given instanceof Object[] && !Values.isNested(given) ? Arrays.asList((Object[]) given) : null;
        if (parts == null) {
            return false;
        }
        int index = 0;
        for (Object part : parts) {
            record(role, name + "[" + index++ + "]", part, null, PLAIN, bytes);
        }
        return true;
    }
}
