package io.windtunnel.monitor;

import java.io.File;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Calendar;
import java.util.GregorianCalendar;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.TimeZone;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Records what an app feeds to its model and what comes out, as an edge log that {@code windtunnel diagnose --edge} reads.
 *
 * <pre>{@code
 * Monitor monitor = Monitor.builder(folder).level(Level.IO).model(modelFile).build();
 * try (Frame frame = monitor.frame()) {
 *     frame.input("image", input, 1, 96, 96, 3);
 *     frame.inference(() -> interpreter.run(input, output));
 *     frame.output("scores", output);
 * }
 * }</pre>
 *
 * <p>Several threads may use it. It never throws into the app, and a thread of its own writes. If a frame cannot be
 * stored, the next one that can be says how many are missing.
 */
public final class Monitor implements AutoCloseable {
    static final String VERSION = "0.3.0";

    /** What may be recorded of a tensor is what the app's hook returns. It is called on the monitor's thread. */
    public interface Redaction {
        /**
         * Says what may be recorded.
         *
         * @param role {@code raw}, {@code input}, {@code output}, {@code layer}, {@code function_input},
         *     {@code function_output} or {@code postprocessed}
         * @param name name of the tensor or function
         * @param values a copy of the values, a primitive array in C order or a {@code String}; it may be changed
         * @return what to record: the same, others of the same type, or null for nothing
         */
        Object redact(String role, String name, Object values);
    }

    /** A sensor of the device. The monitor asks it at each flush, on its own thread. */
    public interface Sensor {
        /** The values that the sensor has now, in its unit; null for none. */
        double[] read();
    }

    /** Settings of a monitor. */
    public static final class Builder {
        final File folder;
        final Map<String, String> facts = new LinkedHashMap<String, String>();
        final Map<String, Sensor> sensors = new LinkedHashMap<String, Sensor>();
        Level level = Level.STATISTICS;
        Redaction redaction;
        boolean raw;
        long every = 1;
        double everySeconds;
        long memoryBytes = 4_000_000;
        long fileBytes = 32L << 20;
        long diskBytes = 256L << 20;
        int flushFrames = 64;
        long flushMilliseconds = 2000;
        private ByteBuffer model;
        private File modelFile;

        Builder(File folder) {
            this.folder = folder == null ? new File(".") : folder;
        }

        private Builder(Builder other) {
            folder = other.folder;
            facts.putAll(other.facts);
            sensors.putAll(other.sensors);
            level = other.level;
            redaction = other.redaction;
            raw = other.raw;
            every = Math.max(1, other.every);
            everySeconds = other.everySeconds;
            memoryBytes = Math.max(0, other.memoryBytes);
            fileBytes = other.fileBytes;
            diskBytes = Math.max(0, other.diskBytes);
            flushFrames = Math.max(1, other.flushFrames);
            flushMilliseconds = Math.max(1, other.flushMilliseconds);
            model = other.model;
            modelFile = other.modelFile;
        }

        /** How much is recorded; {@link Level#STATISTICS} without it. */
        public Builder level(Level level) {
            this.level = level == null ? Level.OFF : level;
            return this;
        }

        /** How much is recorded: {@code off}, {@code statistics}, {@code io} or {@code layers}. */
        public Builder level(String level) {
            return level(Level.of(level));
        }

        /** SHA-256 of the model file, in hexadecimal digits. */
        public Builder modelSha256(String digits) {
            return fact("model_sha256", digits);
        }

        /** The model file; the monitor's thread computes its SHA-256. */
        public Builder model(File file) {
            modelFile = file;
            return this;
        }

        /** The model in memory, for example as mapped from an asset; the monitor's thread computes its SHA-256. */
        public Builder model(ByteBuffer bytes) {
            model = bytes == null ? null : bytes.duplicate();
            return this;
        }

        /** Name and version of the app. */
        public Builder app(String name, String version) {
            return fact("app", name).fact("app_version", version);
        }

        /** The JSON text of the pipeline.json that the app's preprocessing should follow. */
        public Builder pipeline(String json) {
            return fact("pipeline", json);
        }

        /** The runtime and its version, for example {@code LiteRT 2.1}. */
        public Builder runtime(String name) {
            return fact("runtime", name);
        }

        /** The accelerator, for example {@code cpu}, {@code gpu} or {@code nnapi}. */
        public Builder accelerator(String name) {
            return fact("accelerator", name);
        }

        /** Number of threads of the inference. */
        public Builder threads(int number) {
            return fact("threads", String.valueOf(number));
        }

        /** A fact about the device or the app: {@code os} and {@code device} replace what the monitor finds out. */
        public Builder fact(String key, String value) {
            if (key != null && value != null) {
                facts.put(key, value);
            }
            return this;
        }

        /** Records every n-th frame. */
        public Builder every(int frames) {
            every = frames;
            return this;
        }

        /** Records a frame at most every so many seconds. */
        public Builder everySeconds(double seconds) {
            everySeconds = seconds;
            return this;
        }

        /** Whether raw samples are recorded; without it they are not. */
        public Builder raw(boolean recorded) {
            raw = recorded;
            return this;
        }

        /**
         * Asks a hook what may be recorded of each tensor.
         *
         * @param names what the hook may change, separated by commas; the log says it
         * @param hook the hook; if it throws, nothing of the tensor is recorded
         */
        public Builder redact(String names, Redaction hook) {
            redaction = hook;
            return fact("redacted", names);
        }

        /** A sensor: "orientation" (degrees), "light" (lux), "motion" (m/s^2), or a name of the app's. */
        public Builder sensor(String name, Sensor sensor) {
            if (name != null && sensor != null) {
                sensors.put(name, sensor);
            }
            return this;
        }

        /** Most memory of the monitor, in bytes; half of it is for frames that wait. 4 MB without it. */
        public Builder memoryBytes(long bytes) {
            memoryBytes = bytes;
            return this;
        }

        /** A file is closed and the next one begun at this size, in bytes; 32 MiB without it. */
        public Builder fileBytes(long bytes) {
            fileBytes = bytes;
            return this;
        }

        /**
         * Most bytes of the logs in the folder; the oldest files are deleted, but not what another process wrote in the
         * last minute. 256 MiB without it.
         */
        public Builder diskBytes(long bytes) {
            diskBytes = bytes;
            return this;
        }

        /** Writes after this many frames; 64 without it. */
        public Builder flushFrames(int frames) {
            flushFrames = frames;
            return this;
        }

        /** Writes after this many seconds; 2 without it. */
        public Builder flushSeconds(double seconds) {
            flushMilliseconds = (long) (1000 * seconds);
            return this;
        }

        /** The monitor; it never fails. The folder is made when the first frame is written. */
        public Monitor build() {
            return new Monitor(new Builder(this));
        }

        /** The files of a new session; called on the monitor's thread. */
        LogFiles files() {
            Map<String, String> known = new LinkedHashMap<String, String>();
            String session = session();
            known.put("schema", "windtunnel.edge/1");
            known.put("session", session);
            known.put("level", level.label());
            known.putAll(facts);
            String digits = Sha256.of(model, modelFile);
            if (digits != null && !known.containsKey("model_sha256")) {
                known.put("model_sha256", digits);
            }
            Device.addTo(known);
            return new LogFiles(folder, session, "windtunnel-monitor java " + VERSION, known, fileBytes, diskBytes);
        }

        private static String session() {
            Calendar utc = new GregorianCalendar(TimeZone.getTimeZone("UTC"), Locale.ROOT);
            String day = digits(utc.get(Calendar.YEAR), 4) + digits(utc.get(Calendar.MONTH) + 1, 2)
                    + digits(utc.get(Calendar.DAY_OF_MONTH), 2);
            String time = digits(utc.get(Calendar.HOUR_OF_DAY), 2) + digits(utc.get(Calendar.MINUTE), 2)
                    + digits(utc.get(Calendar.SECOND), 2);
            String random = Integer.toHexString(0x10000 | ThreadLocalRandom.current().nextInt(0x10000)).substring(1);
            return day + "T" + time + "-" + Device.processId() + "-" + random;
        }

        /** With leading zeros, and always in these digits, which the formatter of a locale may not use. */
        static String digits(int number, int count) {
            StringBuilder digits = new StringBuilder().append(number);
            while (digits.length() < count) {
                digits.insert(0, '0');
            }
            return digits.toString();
        }
    }

    private static final long CLOSE_MILLISECONDS = 5000;
    private static final long COMPUTE_NANOSECONDS = 5_000_000L;

    private final Builder settings;
    private final ArrayPool pool;
    private final Clock clock = new Clock();
    private final AtomicLong frames = new AtomicLong();
    private final AtomicLong computedAt = new AtomicLong(System.nanoTime() - COMPUTE_NANOSECONDS);
    private final AtomicLong recordedAt = new AtomicLong(Long.MIN_VALUE);
    private final ArrayDeque<Statistics.Maker> makers = new ArrayDeque<Statistics.Maker>();
    private final OpenFrames open = new OpenFrames();
    private final Recorder recorder;
    private final Thread atExit = new Thread("windtunnel-monitor-exit") {
        @Override
        public void run() {
            finish();
        }
    };
    private volatile Level level;
    private volatile boolean closed;

    private Monitor(Builder settings) {
        this.settings = settings;
        level = settings.level;
        // The other half is for code, buffers and tables.
        pool = new ArrayPool(settings.memoryBytes / 2);
        recorder = new Recorder(settings, pool, clock);
        try {
            Runtime.getRuntime().addShutdownHook(atExit);
        } catch (RuntimeException ending) {
            problem(ending);
        }
    }

    /** Settings of a monitor whose log lies in this folder. */
    public static Builder builder(File folder) {
        return new Builder(folder);
    }

    /** Settings of a monitor whose log lies in this folder. */
    public static Builder builder(String folder) {
        return new Builder(folder == null ? null : new File(folder));
    }

    /** Begins a frame; close it, best by try-with-resources. */
    public Frame frame() {
        long number = frames.getAndIncrement();
        Level now = level;
        if (now == Level.OFF || number % settings.every != 0) {
            return Frame.NONE;
        }
        try {
            if (settings.everySeconds > 0 && !isDue()) {
                return Frame.NONE;
            }
            for (FrameData data = open.abandoned(); data != null; data = open.abandoned()) {
                recorder.abandon(data);
            }
            return new Frame(this, new FrameData(number, clock.now(), now));
        } catch (Throwable thrown) {
            problem(thrown);
            return Frame.NONE;
        }
    }

    private boolean isDue() {
        long now = System.nanoTime();
        long before = recordedAt.get();
        boolean due = before == Long.MIN_VALUE || now - before >= settings.everySeconds * 1e9;
        return due && recordedAt.compareAndSet(before, now);
    }

    /** Changes how much is recorded, from the next frame on. */
    public void setLevel(Level next) {
        if (!closed) {
            level = next == null ? Level.OFF : next;
        }
    }

    /** How much is recorded now. */
    public Level level() {
        return level;
    }

    /**
     * Records what a sensor says now.
     *
     * @param name "orientation" (degrees), "light" (lux), "motion" (m/s^2), or a name of the app's
     * @param values values in the unit of the sensor
     */
    public void sensor(String name, double... values) {
        if (level == Level.OFF) {
            return;
        }
        try {
            recorder.offer(new Recorder.Reading(clock.now(), name == null ? "" : name, values.clone()));
        } catch (Throwable thrown) {
            problem(thrown);
        }
    }

    /** Asks the monitor's thread to write what it has; does not wait. */
    public void flush() {
        flush(0);
    }

    /**
     * Asks the monitor's thread to write what it has, and waits for it.
     *
     * @param milliseconds most time to wait
     * @return whether it was written or given up in that time
     */
    public boolean flush(long milliseconds) {
        try {
            return recorder.flush(milliseconds);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            return false;
        } catch (Throwable thrown) {
            return false;
        }
    }

    /**
     * Writes what is left and ends the log; waits for it at most five seconds. Later frames are not recorded. The end of
     * the virtual machine does it too, but not on Android.
     */
    @Override
    public void close() {
        finish();
        try {
            Runtime.getRuntime().removeShutdownHook(atExit);
        } catch (RuntimeException ending) {
            // The virtual machine is ending already.
            return;
        }
    }

    private void finish() {
        closed = true;
        level = Level.OFF;
        try {
            recorder.close(CLOSE_MILLISECONDS);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        } catch (Throwable thrown) {
            problem(thrown);
        }
    }

    /** How many frames could not be recorded. */
    public long framesLost() {
        return recorder.framesLost();
    }

    /** What went wrong last; empty: nothing. */
    public String problem() {
        return recorder.problem();
    }

    void problem(Throwable thrown) {
        try {
            recorder.problem(thrown);
        } catch (Throwable again) {
            // An app out of memory: there is nothing left to do, and it must continue.
            return;
        }
    }

    boolean recordsRaw() {
        return settings.raw;
    }

    OpenFrames.Open opened(Frame frame, FrameData data) {
        return open.add(frame, data);
    }

    void offer(FrameData frame, OpenFrames.Open entry) {
        open.close(entry);
        recorder.offer(frame);
    }

    /** Takes what the level wants of a tensor: a copy of the values, or statistics. */
    void fill(TensorRecord tensor, Values values, FrameData frame) {
        tensor.keepsValues = keepsValues(frame.level, tensor.role);
        if (!tensor.keepsValues && (settings.redaction == null || values.element == Element.TEXT)) {
            if (values.element != Element.TEXT) {
                tensor.statistics = statistics(values);
            }
            return;
        }
        Object place = pool.take(values.element, values.count);
        if (place == null) {
            frame.leaveOut(tensor.label() + ": over the memory bound");
            if (settings.redaction == null && values.element != Element.TEXT && mayCompute()) {
                tensor.statistics = statistics(values);
            }
            return;
        }
        tensor.array = place;
        tensor.count = values.count;
        values.copy(0, values.count, place);
    }

    /** Whether statistics may take the place of values: not for each frame of an app that is faster than its disk. */
    private boolean mayCompute() {
        long now = System.nanoTime();
        long before = computedAt.get();
        return now - before > COMPUTE_NANOSECONDS && computedAt.compareAndSet(before, now);
    }

    private static boolean keepsValues(Level level, TensorRecord.Role role) {
        return level == Level.LAYERS || level == Level.IO && role != TensorRecord.Role.LAYER;
    }

    private Statistics statistics(Values values) {
        Statistics.Maker maker;
        synchronized (makers) {
            maker = makers.isEmpty() ? new Statistics.Maker() : makers.pop();
        }
        Statistics made = maker.of(values);
        synchronized (makers) {
            makers.push(maker);
        }
        return made;
    }
}
