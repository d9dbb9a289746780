import io.windtunnel.monitor.Frame;
import io.windtunnel.monitor.Level;
import io.windtunnel.monitor.Monitor;
import java.io.File;
import java.util.Arrays;
import java.util.Locale;

/**
 * What the monitor costs the thread of an app, for a frame with a 96x96x3 float input and ten scores.
 *
 * <p>Arguments: folder for logs, frames for each figure, pause between frames in microseconds. The bare app and all
 * levels take turns frame by frame, so that a busy machine slows all of them. Prints one line of JSON.
 */
public final class MonitorBenchmark {
    private static final int VALUES = 96 * 96 * 3;
    private static final int WARM_UP = 5000;
    private static final int OFF_FRAMES = 20;

    private final float[] input = new float[VALUES];
    private final float[] scores = new float[10];
    private final float[] copied = new float[VALUES];
    private final int[] shape = {1, 96, 96, 3};
    private final int[] outputShape = {1, 10};

    private MonitorBenchmark() {
        java.util.Random random = new java.util.Random(7);
        for (int i = 0; i < VALUES; i++) {
            input[i] = random.nextFloat() * 2 - 1;
        }
        for (int i = 0; i < scores.length; i++) {
            scores[i] = random.nextFloat();
        }
    }

    private void frame(Monitor monitor) {
        try (Frame frame = monitor.frame()) {
            frame.input("image", input, shape);
            frame.output("scores", scores, outputShape);
        }
    }

    private static void pause(long microseconds) {
        long end = System.nanoTime() + 1000 * microseconds;
        while (System.nanoTime() < end) {
            Thread.yield();
        }
    }

    /** Median of microseconds, for the copy and for each monitor. */
    private double[] measure(Monitor[] monitors, int frames, long pause) {
        long[][] taken = new long[monitors.length + 1][frames];
        for (int i = 0; i < frames; i++) {
            input[i % VALUES] += 0.001f;
            pause(pause);
            long begin = System.nanoTime();
            System.arraycopy(input, 0, copied, 0, VALUES);
            taken[0][i] = System.nanoTime() - begin;
            for (int m = 0; m < monitors.length; m++) {
                pause(pause);
                // One frame at level off takes less than the clock can measure.
                int times = m == 0 ? OFF_FRAMES : 1;
                begin = System.nanoTime();
                for (int time = 0; time < times; time++) {
                    frame(monitors[m]);
                }
                taken[m + 1][i] = (System.nanoTime() - begin) / times;
            }
        }
        double[] medians = new double[taken.length];
        for (int i = 0; i < taken.length; i++) {
            Arrays.sort(taken[i]);
            medians[i] = taken[i][frames / 2] / 1000.0;
        }
        return medians;
    }

    private static long heap() {
        long least = Long.MAX_VALUE;
        for (int i = 0; i < 4; i++) {
            System.gc();
            least = Math.min(least, Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory());
        }
        return least;
    }

    private static long bytes(File folder) {
        long bytes = 0;
        File[] files = folder.listFiles();
        for (File file : files == null ? new File[0] : files) {
            bytes += file.length();
        }
        return bytes;
    }

    /** Runs the benchmark. */
    public static void main(String[] arguments) {
        File folder = new File(arguments[0]);
        int frames = Integer.parseInt(arguments[1]);
        long pause = Long.parseLong(arguments[2]);
        MonitorBenchmark app = new MonitorBenchmark();
        long before = heap();
        Level[] levels = {Level.OFF, Level.STATISTICS, Level.IO};
        Monitor[] monitors = new Monitor[levels.length];
        for (int i = 0; i < levels.length; i++) {
            monitors[i] = Monitor.builder(new File(folder, levels[i].label())).level(levels[i]).build();
        }
        app.measure(monitors, WARM_UP, 0);
        for (Monitor monitor : monitors) {
            monitor.flush(10_000);
        }
        File statistics = new File(folder, Level.STATISTICS.label());
        long disk = bytes(statistics);
        double[] medians = app.measure(monitors, frames, pause);
        for (Monitor monitor : monitors) {
            monitor.flush(10_000);
        }
        double perFrame = (bytes(statistics) - disk) / (double) frames;
        long memory = heap() - before;
        long lost = monitors[2].framesLost();
        for (Monitor monitor : monitors) {
            monitor.close();
        }
        System.out.printf(Locale.ROOT, "{\"copy_us\": %.2f, \"off_us\": %.3f, \"statistics_us\": %.2f, \"io_us\": %.2f, "
                + "\"io_copies\": %.2f, \"heap_bytes\": %d, \"statistics_bytes_per_frame\": %.1f, \"io_frames_lost\": %d}%n",
                medians[0], medians[1], medians[2], medians[3], medians[3] / medians[0], memory, perFrame, lost);
    }
}
