package io.windtunnel.monitor;

import java.io.IOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Takes frames from the app's threads, and writes them in a thread of its own. Handing over a frame takes a lock for a
 * moment and never waits for a disk.
 */
final class Recorder implements Runnable {
    /** A sensor reading that waits. */
    static final class Reading {
        final long time;
        final String sensor;
        final double[] values;

        Reading(long time, String sensor, double[] values) {
            this.time = time;
            this.sensor = sensor;
            this.values = values;
        }
    }

    private static final long CHUNK_BYTES = 1 << 18;
    private static final long READING_BYTES = 256;

    private final Monitor.Builder settings;
    private final ArrayPool pool;
    private final Clock clock;
    private final Object lock = new Object();
    private final Chunk chunk = new Chunk();
    private final FrameEncoder encoder = new FrameEncoder();
    private final Statistics.Maker statistics = new Statistics.Maker();
    private LogFiles files;

    // All of these are guarded by the lock.
    private ArrayDeque<Object> queue = new ArrayDeque<Object>();
    private int queuedFrames;
    private long queuedSince;
    private boolean started;
    private boolean closing;
    private boolean ended;
    private long flushesAsked;
    private long flushesDone;
    private long lost;
    private long lostInAll;
    private String reason = "";
    private String problem = "";

    // These belong to the thread that writes.
    /** Resident memory, for the first frame of a flush; 0 for the others. */
    private long memory;
    private long readings;
    private long recorded;

    Recorder(Monitor.Builder settings, ArrayPool pool, Clock clock) {
        this.settings = settings;
        this.pool = pool;
        this.clock = clock;
    }

    /** Starts the thread with the first frame, so that a monitor that records nothing costs nothing. */
    private void start() {
        if (!started) {
            Thread thread = new Thread(this, "windtunnel-monitor");
            thread.setDaemon(true);
            thread.setPriority(Thread.NORM_PRIORITY - 1);
            thread.start();
            started = true;
        }
    }

    /** Takes a frame that is complete; its arrays go back to the pool if it cannot be kept. */
    void offer(FrameData frame) {
        boolean kept = pool.reserve(frame.cost());
        synchronized (lock) {
            kept &= !ended;
            if (kept) {
                enqueue(frame);
                queuedFrames++;
                if (queuedFrames == settings.flushFrames || pool.usedBytes() > pool.bound() / 2) {
                    lock.notifyAll();
                }
                return;
            }
            lose(1, "over the memory bound");
        }
        frame.release(pool);
    }

    /** Counts a frame that the app did not close, and takes its arrays back. */
    void abandon(FrameData frame) {
        synchronized (lock) {
            lose(1, "the app did not close them");
        }
        frame.release(pool);
    }

    /** Takes a sensor reading; without room for it, it is dropped. */
    void offer(Reading reading) {
        if (!pool.reserve(READING_BYTES)) {
            return;
        }
        synchronized (lock) {
            if (!ended) {
                enqueue(reading);
                return;
            }
        }
        pool.release(READING_BYTES);
    }

    private void enqueue(Object item) {
        start();
        if (queue.isEmpty()) {
            queuedSince = System.nanoTime();
            lock.notifyAll();
        }
        queue.add(item);
    }

    /** Counts frames that are not recorded; with the lock held. */
    private void lose(long frames, String why) {
        lost += frames;
        lostInAll += frames;
        reason = why;
    }

    /** Keeps what went wrong for {@link Monitor#problem()}. */
    void problem(Throwable thrown) {
        synchronized (lock) {
            problem = thrown.toString();
        }
    }

    String problem() {
        synchronized (lock) {
            return problem;
        }
    }

    long framesLost() {
        synchronized (lock) {
            return lostInAll;
        }
    }

    /** Asks for a flush; waits for it at most this long. */
    boolean flush(long milliseconds) throws InterruptedException {
        synchronized (lock) {
            flushesAsked++;
            lock.notifyAll();
            return await(flushesAsked, milliseconds);
        }
    }

    /** Writes what is left and closes the file; waits for it at most this long. */
    boolean close(long milliseconds) throws InterruptedException {
        synchronized (lock) {
            closing = true;
            ended |= !started;
            lock.notifyAll();
            return await(Long.MAX_VALUE, milliseconds);
        }
    }

    private boolean await(long flush, long milliseconds) throws InterruptedException {
        long deadline = System.nanoTime() + milliseconds * 1_000_000L;
        while (started && !ended && flushesDone < flush) {
            long left = (deadline - System.nanoTime()) / 1_000_000L;
            if (left <= 0) {
                return false;
            }
            lock.wait(left);
        }
        return true;
    }

    @Override
    public void run() {
        boolean last = false;
        while (!last) {
            long asked = 0;
            try {
                ArrayDeque<Object> taken;
                synchronized (lock) {
                    awaitWork();
                    last = closing;
                    asked = flushesAsked;
                    taken = queue;
                    queue = new ArrayDeque<Object>();
                    queuedFrames = 0;
                }
                write(taken);
            } catch (Throwable thrown) {
                problem(thrown);
                dropChunk(thrown);
            }
            synchronized (lock) {
                flushesDone = Math.max(flushesDone, asked);
                lock.notifyAll();
            }
        }
        end();
    }

    private void awaitWork() throws InterruptedException {
        while (!closing && flushesAsked == flushesDone) {
            if (queue.isEmpty()) {
                lock.wait();
                continue;
            }
            long left = settings.flushMilliseconds - (System.nanoTime() - queuedSince) / 1_000_000L;
            if (left <= 0 || queuedFrames >= settings.flushFrames || pool.usedBytes() > pool.bound() / 2) {
                return;
            }
            lock.wait(left);
        }
    }

    private void write(ArrayDeque<Object> taken) {
        boolean frames = false;
        memory = taken.isEmpty() ? 0 : Device.residentBytes();
        countVanished();
        while (!taken.isEmpty()) {
            Object item = taken.removeFirst();
            if (item instanceof FrameData) {
                frames = true;
                encode((FrameData) item);
            } else {
                pool.release(READING_BYTES);
                encoder.add((Reading) item, readings++, chunk);
            }
            if (chunk.size() >= CHUNK_BYTES || chunk.frames.size() >= settings.flushFrames) {
                flushChunk();
            }
        }
        if (frames) {
            readSensors();
        }
        flushChunk();
    }

    private void countVanished() {
        long gone = files == null ? 0 : files.vanished();
        if (gone > 0) {
            recorded -= gone;
            synchronized (lock) {
                lose(gone, "a file of the log was deleted");
            }
        }
    }

    private void encode(FrameData frame) {
        int held = chunk.frames.size();
        pool.release(frame.cost());
        try {
            for (TensorRecord tensor : frame.tensors) {
                finish(tensor, frame);
            }
            long before;
            synchronized (lock) {
                before = lost;
                if (before > 0) {
                    frame.leftOut.add((before == 1 ? "1 frame: " : before + " frames: ") + reason);
                }
                lost = 0;
            }
            chunk.lostBefore += before;
            encoder.add(frame, before, memory, chunk);
            memory = 0;
        } catch (Throwable failed) {
            // The chunk may end in the middle of the frame.
            synchronized (lock) {
                lose(held == chunk.frames.size() ? 1 : 0, failed.toString());
            }
            dropChunk(failed);
            frame.release(pool);
        }
    }

    /** Asks the redaction hook, and if only statistics are wanted, computes those of what it leaves. */
    private void finish(TensorRecord tensor, FrameData frame) {
        if (tensor.array == null) {
            return;
        }
        if (settings.redaction != null) {
            Redactor.redact(settings.redaction, tensor, frame.leftOut, pool);
        }
        if (tensor.array != null && !tensor.keepsValues) {
            if (tensor.element != Element.TEXT) {
                tensor.statistics = statistics.of(
                        Values.ofArray(tensor.element, tensor.count, tensor.shape, tensor.array));
            }
            pool.give(tensor.array);
            tensor.array = null;
        }
    }

    private void readSensors() {
        for (Map.Entry<String, Monitor.Sensor> each : settings.sensors.entrySet()) {
            try {
                double[] values = each.getValue().read();
                if (values != null) {
                    encoder.add(new Reading(clock.now(), each.getKey(), values), readings++, chunk);
                }
            } catch (Throwable thrown) {
                problem(thrown);
            }
        }
    }

    private void flushChunk() {
        if (chunk.isEmpty()) {
            return;
        }
        try {
            if (files == null) {
                files = settings.files();
            }
            files.write(chunk);
            recorded += chunk.frames.size();
            chunk.clear(pool);
        } catch (IOException | RuntimeException failed) {
            dropChunk(failed);
        }
    }

    private void dropChunk(Throwable why) {
        synchronized (lock) {
            String message = why.getMessage() == null ? why.toString() : why.getMessage();
            problem = message;
            // What its frames reported as lost was counted already, but has to be reported again.
            lost += chunk.lostBefore;
            lose(chunk.frames.size(), message);
        }
        chunk.clear(pool);
    }

    /** What the session says at its end, with the keys of the Python monitor. */
    private Map<String, String> ending() {
        Map<String, String> facts = new LinkedHashMap<String, String>();
        facts.put("frames_recorded", String.valueOf(recorded));
        synchronized (lock) {
            facts.put("frames_lost", String.valueOf(lostInAll));
            facts.put("frames_lost_at_end", String.valueOf(lost));
            if (lost > 0) {
                facts.put("left_out", "frames: " + reason);
            }
            if (!problem.isEmpty()) {
                facts.put("faults", problem);
            }
        }
        return facts;
    }

    private void end() {
        try {
            if (files != null) {
                files.close(ending());
            }
        } catch (Throwable thrown) {
            problem(thrown);
        }
        List<FrameData> late = new ArrayList<FrameData>();
        synchronized (lock) {
            ended = true;
            for (Object item : queue) {
                if (item instanceof FrameData) {
                    late.add((FrameData) item);
                }
            }
            queue.clear();
            lock.notifyAll();
        }
        for (FrameData frame : late) {
            frame.release(pool);
        }
    }
}
